//! What can be changed in a file: operators, guards, arms of matches and bodies of functions, as cargo-mutants does.

use proc_macro2::Span;
use std::ops::Range;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{BinOp, Expr, GenericArgument, PathArguments, ReturnType, Type, UnOp};

/// Functions that check invariants for tests, or make text of something: what they do is not what is tested.
const LEFT_OUT: [&str; 5] = ["check", "check_bounds", "check_members", "check_invariants", "fmt"];

/// A place of a file with what could be there instead.
#[derive(Debug)]
pub struct Place {
    /// Bytes of the file; empty where something is put in.
    pub bytes: Range<usize>,
    pub line: usize,
    /// The function it is in.
    pub function: String,
    pub kind: Kind,
    /// Each with a description.
    pub instead: Vec<(String, String)>,
}

/// How a change is written down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// An expression: `(if chosen { other } else { it })`.
    Expression,
    /// The beginning of a body: `if chosen { return other; }`.
    Body,
    /// The end of a pattern: ` if !chosen`.
    Arm,
}

/// The places of a file, those around others first.
pub fn places(source: &str) -> Vec<Place> {
    let file = syn::parse_file(source).expect("it compiles");
    let mut finder = Finder { source, functions: Vec::new(), places: Vec::new() };
    finder.visit_file(&file);
    finder.places.sort_by_key(|place| (place.bytes.start, std::cmp::Reverse(place.bytes.end)));
    finder.places
}

struct Finder<'a> {
    source: &'a str,
    functions: Vec<String>,
    places: Vec<Place>,
}

impl Finder<'_> {
    fn text(&self, span: Span) -> &str {
        &self.source[span.byte_range()]
    }

    /// Whether an expression is that of a planted bug, which is off: what depends on it does not run.
    fn is_planted(&self, expression: &Expr) -> bool {
        self.text(expression.span()).starts_with("planted::bug!")
    }

    fn add(&mut self, span: Span, bytes: Range<usize>, kind: Kind, instead: Vec<(String, String)>) {
        let Some(function) = self.functions.last().cloned() else { return };
        if !instead.is_empty() && !self.source[bytes.clone()].contains("planted::") {
            self.places.push(Place { bytes, line: span.start().line, function, kind, instead });
        }
    }

    fn function(&mut self, attributes: &[syn::Attribute], signature: &syn::Signature, block: &syn::Block) {
        let name = signature.ident.to_string();
        if is_test(attributes) || signature.constness.is_some() || LEFT_OUT.contains(&name.as_str()) {
            return;
        }
        self.functions.push(name);
        if !block.stmts.is_empty() {
            let values = match &signature.output {
                ReturnType::Default => vec![String::new()],
                ReturnType::Type(_, of) => values_of(of),
            };
            let begins = block.brace_token.span.open().byte_range().end;
            let instead = values.into_iter().map(|value| (value.clone(), format!("return `{value}` at once")));
            self.add(signature.ident.span(), begins..begins, Kind::Body, instead.collect());
        }
        visit::visit_block(self, block);
        self.functions.pop();
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_test(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.function(&function.attrs, &function.sig, &function.block);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.function(&function.attrs, &function.sig, &function.block);
    }

    // Constants are no code that runs, patterns and types none at all.
    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}
    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}
    fn visit_pat(&mut self, _: &'ast syn::Pat) {}
    fn visit_type(&mut self, _: &'ast Type) {}

    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        let has_let = has_let(&binary.left) || has_let(&binary.right);
        if !has_let {
            let was = self.text(binary.op.span()).to_string();
            let (left, right) = (self.text(binary.left.span()), self.text(binary.right.span()));
            let other = |op: &&str| (format!("({left}) {op} ({right})"), format!("replace `{was}` by `{op}`"));
            let instead = others(&binary.op).iter().map(other).collect();
            self.add(binary.op.span(), binary.span().byte_range(), Kind::Expression, instead);
        }
        match (&binary.op, self.is_planted(&binary.left)) {
            (BinOp::And(_), true) => self.visit_expr(&binary.left), // the right side is never looked at
            _ => visit::visit_expr_binary(self, binary),
        }
    }

    fn visit_expr_unary(&mut self, unary: &'ast syn::ExprUnary) {
        if !matches!(unary.op, UnOp::Deref(_)) {
            let was = self.text(unary.op.span()).to_string();
            let instead = vec![(self.text(unary.expr.span()).to_string(), format!("leave out `{was}`"))];
            self.add(unary.span(), unary.span().byte_range(), Kind::Expression, instead);
        }
        visit::visit_expr_unary(self, unary);
    }

    fn visit_expr_match(&mut self, matched: &'ast syn::ExprMatch) {
        if self.is_planted(&matched.expr) {
            // One arm is for the bug.
            return matched.arms.iter().skip(1).for_each(|arm| self.visit_expr(&arm.body));
        }
        let has_wildcard = matched.arms.iter().any(|arm| matches!(arm.pat, syn::Pat::Wild(_)) && arm.guard.is_none());
        for arm in &matched.arms {
            match &arm.guard {
                Some((_, guard)) if !has_let(guard) => {
                    let instead =
                        ["true", "false"].map(|other| (other.to_string(), format!("a guard that is {other}")));
                    self.add(guard.span(), guard.span().byte_range(), Kind::Expression, instead.to_vec());
                }
                None if has_wildcard && !matches!(arm.pat, syn::Pat::Wild(_)) => {
                    let ends = arm.pat.span().byte_range().end;
                    let says = format!("leave out the arm `{}`", self.text(arm.pat.span()));
                    self.add(arm.pat.span(), ends..ends, Kind::Arm, vec![(String::new(), says)]);
                }
                _ => {}
            }
        }
        visit::visit_expr_match(self, matched);
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    let says_test = |list: &syn::MetaList| list.tokens.to_string().contains("test");
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::Path(path) => path.is_ident("test"),
        syn::Meta::List(list) => list.path.is_ident("cfg") && says_test(list),
        syn::Meta::NameValue(_) => false,
    })
}

/// Whether it is part of a chain with `let`, which can stand in conditions only.
fn has_let(expression: &Expr) -> bool {
    match expression {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

/// Operators that could stand there instead.
fn others(op: &BinOp) -> &'static [&'static str] {
    match op {
        BinOp::Eq(_) => &["!="],
        BinOp::Ne(_) => &["=="],
        BinOp::And(_) => &["||"],
        BinOp::Or(_) => &["&&"],
        BinOp::Lt(_) => &["==", ">", "<="],
        BinOp::Gt(_) => &["==", "<", ">="],
        BinOp::Le(_) => &[">"],
        BinOp::Ge(_) => &["<"],
        BinOp::Add(_) => &["-", "*"],
        BinOp::Sub(_) => &["+", "/"],
        BinOp::Mul(_) => &["+", "/"],
        BinOp::Div(_) => &["%", "*"],
        BinOp::Rem(_) => &["/", "+"],
        BinOp::BitAnd(_) => &["|", "^"],
        BinOp::BitOr(_) => &["&", "^"],
        BinOp::BitXor(_) => &["&", "|"],
        BinOp::Shl(_) => &[">>"],
        BinOp::Shr(_) => &["<<"],
        BinOp::AddAssign(_) => &["-=", "*="],
        BinOp::SubAssign(_) => &["+=", "/="],
        BinOp::MulAssign(_) => &["+=", "/="],
        BinOp::BitAndAssign(_) => &["|="],
        BinOp::BitOrAssign(_) => &["&=", "^="],
        _ => &[],
    }
}

/// Values of a type that are easily made. Those that don't compile are found out later.
fn values_of(of: &Type) -> Vec<String> {
    let any = || vec!["Default::default()".to_string()];
    let path = match of {
        Type::Tuple(tuple) if tuple.elems.is_empty() => return vec!["()".to_string()],
        Type::Tuple(_) => return any(),
        Type::Path(path) => path.path.segments.last().expect("a path has a name"),
        _ => return Vec::new(),
    };
    let inner = || match &path.arguments {
        PathArguments::AngleBracketed(arguments) => match arguments.args.first() {
            Some(GenericArgument::Type(inner)) => values_of(inner),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    match path.ident.to_string().as_str() {
        "bool" => vec!["true".to_string(), "false".to_string()],
        "u8" | "u16" | "u32" | "u64" | "usize" | "i32" | "i64" => vec!["0".to_string(), "1".to_string()],
        "Option" => {
            let some = inner().into_iter().filter(|value| value != "Default::default()");
            std::iter::once("None".to_string()).chain(some.map(|value| format!("Some({value})"))).collect()
        }
        "Result" => inner().into_iter().map(|value| format!("Ok({value})")).collect(),
        _ => any(),
    }
}
