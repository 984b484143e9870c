//! The grammar: Python's, for expressions of numbers.
//!
//! ```text
//! or:         and ("or" and)*
//! and:        not ("and" not)*
//! not:        "not" not | comparison
//! comparison: sum (("<" | "<=" | ">" | ">=" | "==" | "!=") sum)*        chained: a < b < c
//! sum:        product (("+" | "-") product)*
//! product:    sign (("*" | "/" | "//" | "%") sign)*
//! sign:       ("-" | "+") sign | power
//! power:      atom ["**" sign]
//! atom:       number | "True" | "False" | "pi" | "inf" | "nan" | array | function "(" or ("," or)* ")" | "(" or ")"
//! ```

use super::error::quoted;
use super::token::{Token, Tokens};
use super::typing::{Comparison, Operator, Typing, Value};
use super::{DEPTH_MAX, ExpressionError, Named, Resolve, TEXT_BYTES_MAX};
use crate::DType;
use crate::kernels::elementary;
use crate::program::{Builder, NodeId, Program, Unary};
use crate::reduction::Reducer;

/// A text that is read, word by word.
pub struct Parser<'a, 'r> {
    pub(super) text: &'a str,
    tokens: Tokens<'a>,
    /// The next word, and where it begins.
    pub(super) next: (Token<'a>, usize),
    depth: usize,
    x: DType,
    resolve: &'r mut Resolve<'r>,
    typing: Typing,
}

type Parsed<T> = Result<T, ExpressionError>;

/// Words that are no names of arrays.
const KEYWORDS: [&str; 11] = ["x", "and", "or", "not", "True", "False", "true", "false", "pi", "inf", "nan"];

/// What can be called with values.
#[derive(Clone, Copy)]
pub enum Function {
    Cast(DType),
    Unary(Unary),
    Elementary(elementary::Binary),
    Minimum,
    Maximum,
    Clip,
    Where,
}

/// NumPy's other names.
const ALIASES: [(&str, &str); 11] = [
    ("absolute", "abs"),
    ("arcsin", "asin"),
    ("arccos", "acos"),
    ("arctan", "atan"),
    ("arctan2", "atan2"),
    ("rint", "round"),
    ("power", "pow"),
    ("int", "int32"),
    ("double", "float64"),
    ("float", "float64"),
    ("ln", "log"),
];

impl Function {
    fn find(name: &str) -> Option<Function> {
        let name = ALIASES.into_iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
        if let Ok(dtype) = name.parse() {
            return Some(Function::Cast(dtype));
        }
        // Signs and words of the language stand for these.
        let unary = Unary::all().filter(|unary| !matches!(unary, Unary::Neg | Unary::Not));
        if let Some(unary) = unary.into_iter().find(|unary| unary.name() == name) {
            return Some(Function::Unary(unary));
        }
        if let Some(binary) = elementary::Binary::ALL.into_iter().find(|binary| binary.name() == name) {
            return Some(Function::Elementary(binary));
        }
        match name {
            "minimum" => Some(Function::Minimum),
            "maximum" => Some(Function::Maximum),
            "clip" => Some(Function::Clip),
            "where" => Some(Function::Where),
            _ => None,
        }
    }

    fn takes(self) -> usize {
        match self {
            Function::Cast(_) | Function::Unary(_) => 1,
            Function::Elementary(_) | Function::Minimum | Function::Maximum => 2,
            Function::Clip | Function::Where => 3,
        }
    }

    /// All names, for messages and for who types them.
    pub fn names() -> Vec<&'static str> {
        let unary = Unary::all().filter(|unary| !matches!(unary, Unary::Neg | Unary::Not)).map(Unary::name);
        let binary = elementary::Binary::ALL.into_iter().map(elementary::Binary::name);
        let mut names: Vec<&str> = unary.chain(binary).chain(["minimum", "maximum", "clip", "where"]).collect();
        names.extend(["bool", "int32", "int64", "float32", "float64"]);
        names.sort_unstable();
        names
    }
}

impl<'a, 'r> Parser<'a, 'r> {
    pub fn new(text: &'a str, x: DType, resolve: &'r mut Resolve<'r>) -> Parsed<Parser<'a, 'r>> {
        if text.len() > TEXT_BYTES_MAX {
            let problem =
                format!("the text has {} bytes, {TEXT_BYTES_MAX} at most; store a part of it first", text.len());
            return Err(ExpressionError::at(text, TEXT_BYTES_MAX, problem));
        }
        let mut tokens = Tokens::new(text);
        let next = tokens.next()?;
        let builder = Builder::new(vec![x]).map_err(|problem| ExpressionError::at(text, 0, problem))?;
        let typing = Typing { builder, guard: None };
        Ok(Parser { text, tokens, next, depth: 0, x, resolve, typing })
    }

    /// The whole text as one expression.
    pub fn expression(mut self) -> Parsed<Program> {
        let value = self.or()?;
        self.end()?;
        let node = self.typed(0, |typing| typing.node(value))?;
        Ok(self.typing.builder.elements(node))
    }

    /// The whole text as reductions, with the text of each.
    pub fn reductions(mut self) -> Parsed<(Program, Vec<String>)> {
        let (mut reductions, mut texts) = (Vec::new(), Vec::new());
        loop {
            let begin = self.next.1;
            let reducer = self.reducer()?;
            self.expect("(")?;
            let value = self.or()?;
            self.expect(")")?;
            let node = self.typed(begin, |typing| typing.node(value))?;
            reductions.push((reducer, node));
            texts.push(self.text[begin..self.next.1].trim_end().to_string());
            if !self.take_sign(",")? {
                break;
            }
        }
        self.end()?;
        let problem = |problem| ExpressionError::at(self.text, 0, problem);
        Ok((self.typing.builder.reductions(reductions).map_err(problem)?, texts))
    }

    fn reducer(&mut self) -> Parsed<Reducer> {
        let names = || Reducer::ALL.map(Reducer::name).join(", ");
        let Token::Word(word) = self.next.0 else {
            return self.wrong(format!("a reduction begins with its name, such as sum(…); there are {}", names()));
        };
        match word.parse() {
            Ok(reducer) => self.step().map(|()| reducer),
            Err(_) => self.wrong(format!("no reduction is called {}; there are {}", quoted(word), names())),
        }
    }

    // ---- words ----

    pub(super) fn step(&mut self) -> Parsed<()> {
        self.next = self.tokens.next()?;
        Ok(())
    }

    /// An error about the next word.
    pub(super) fn wrong<T>(&self, problem: impl Into<String>) -> Parsed<T> {
        Err(ExpressionError::at(self.text, self.next.1, problem))
    }

    pub(super) fn take_sign(&mut self, sign: &str) -> Parsed<bool> {
        let found = matches!(self.next.0, Token::Sign(next) if next == sign);
        if found {
            self.step()?;
        }
        Ok(found)
    }

    fn take_word(&mut self, word: &str) -> Parsed<bool> {
        let found = matches!(self.next.0, Token::Word(next) if next == word);
        if found {
            self.step()?;
        }
        Ok(found)
    }

    pub(super) fn expect(&mut self, sign: &str) -> Parsed<()> {
        match self.take_sign(sign)? {
            true => Ok(()),
            false => self.wrong(format!("a `{sign}` is missing here")),
        }
    }

    pub(super) fn end(&self) -> Parsed<()> {
        match &self.next.0 {
            Token::End => Ok(()),
            Token::Sign(")") => self.wrong("a `)` without its `(`"),
            Token::Sign(",") => {
                self.wrong("one expression gives one result; several reductions go together with `reduce`")
            }
            _ => self.wrong("an operator is missing before this"),
        }
    }

    /// Does something with types; an error is about what begins at a byte.
    fn typed<T>(&mut self, at: usize, work: impl FnOnce(&mut Typing) -> Result<T, String>) -> Parsed<T> {
        work(&mut self.typing).map_err(|problem| ExpressionError::at(self.text, at, problem))
    }

    /// Goes one level deeper.
    fn nested<T>(&mut self, work: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth == DEPTH_MAX {
            return self.wrong(format!("nested more than {DEPTH_MAX} deep; store a part of it first"));
        }
        self.depth += 1;
        let result = work(self);
        self.depth -= 1;
        result
    }

    /// Reads what is looked at only where a condition is true.
    fn guarded(
        &mut self,
        condition: NodeId,
        at: usize,
        work: impl FnOnce(&mut Self) -> Parsed<Value>,
    ) -> Parsed<Value> {
        let before = self.typed(at, |typing| typing.guarded(condition))?;
        let value = work(self)?;
        self.typing.guard = before;
        Ok(value)
    }

    // ---- the grammar ----

    pub(super) fn or(&mut self) -> Parsed<Value> {
        let mut value = self.and()?;
        while let (Token::Word("or"), at) = self.next {
            self.step()?;
            let left = self.typed(at, |typing| typing.truth(value))?;
            let otherwise = self.typed(at, |typing| typing.negated(left))?;
            let right = self.guarded(otherwise, at, Self::and)?;
            let right = self.typed(at, |typing| typing.truth(right))?;
            value = Value::Node(self.typed(at, |typing| typing.either(left, right))?);
        }
        Ok(value)
    }

    fn and(&mut self) -> Parsed<Value> {
        let mut value = self.not()?;
        while let (Token::Word("and"), at) = self.next {
            self.step()?;
            let left = self.typed(at, |typing| typing.truth(value))?;
            let right = self.guarded(left, at, Self::not)?;
            let right = self.typed(at, |typing| typing.truth(right))?;
            value = Value::Node(self.typed(at, |typing| typing.both(left, right))?);
        }
        Ok(value)
    }

    fn not(&mut self) -> Parsed<Value> {
        let at = self.next.1;
        if !self.take_word("not")? {
            return self.comparison();
        }
        let value = self.nested(Self::not)?;
        self.typed(at, |typing| typing.not(value))
    }

    fn comparison(&mut self) -> Parsed<Value> {
        let mut left = self.sum()?;
        let mut all: Option<NodeId> = None;
        loop {
            let at = self.next.1;
            let comparison = match self.next.0 {
                Token::Sign("<") => Comparison::Lt,
                Token::Sign("<=") => Comparison::Le,
                Token::Sign(">") => Comparison::Gt,
                Token::Sign(">=") => Comparison::Ge,
                Token::Sign("==") => Comparison::Eq,
                Token::Sign("!=") => Comparison::Ne,
                _ => return Ok(all.map_or(left, Value::Node)),
            };
            self.step()?;
            let right = self.sum()?;
            let compared = self.typed(at, |typing| typing.compare(comparison, left, right))?;
            let compared = self.typed(at, |typing| typing.node(compared))?;
            all = Some(match all {
                None => compared,
                Some(before) => self.typed(at, |typing| typing.both(before, compared))?,
            });
            left = right;
        }
    }

    fn sum(&mut self) -> Parsed<Value> {
        self.chain(Self::product, |sign| match sign {
            "+" => Some(Operator::Add),
            "-" => Some(Operator::Sub),
            _ => None,
        })
    }

    fn product(&mut self) -> Parsed<Value> {
        self.chain(Self::sign, |sign| match sign {
            "*" => Some(Operator::Mul),
            "/" => Some(Operator::Div),
            "//" => Some(Operator::FloorDiv),
            "%" => Some(Operator::Mod),
            _ => None,
        })
    }

    /// Operators of one rank, from left to right.
    fn chain(
        &mut self,
        operand: fn(&mut Self) -> Parsed<Value>,
        operator: fn(&str) -> Option<Operator>,
    ) -> Parsed<Value> {
        let mut value = operand(self)?;
        while let (Token::Sign(sign), at) = self.next {
            let Some(operator) = operator(sign) else { break };
            self.step()?;
            let right = operand(self)?;
            value = self.typed(at, |typing| typing.operate(operator, value, right))?;
        }
        Ok(value)
    }

    fn sign(&mut self) -> Parsed<Value> {
        let at = self.next.1;
        if self.take_sign("-")? {
            let value = self.nested(Self::sign)?;
            return self.typed(at, |typing| typing.negate(value));
        }
        if self.take_sign("+")? {
            return self.nested(Self::sign);
        }
        self.power()
    }

    fn power(&mut self) -> Parsed<Value> {
        let base = self.atom()?;
        let at = self.next.1;
        if !self.take_sign("**")? {
            return Ok(base);
        }
        let exponent = self.nested(Self::sign)?;
        self.typed(at, |typing| typing.operate(Operator::Pow, base, exponent))
    }

    fn atom(&mut self) -> Parsed<Value> {
        let (token, at) = self.next.clone();
        match token {
            Token::Int(int) => self.step().map(|()| Value::Int(int)),
            Token::Float(float) => self.step().map(|()| Value::Float(float)),
            Token::Sign("(") => {
                self.step()?;
                let value = self.nested(Self::or)?;
                self.expect(")")?;
                Ok(value)
            }
            Token::Quoted(name) => {
                self.step()?;
                self.array(name, at)
            }
            Token::Word(word) => {
                self.step()?;
                match self.next.0 {
                    Token::Sign("(") => self.call(word, at),
                    _ => self.word(word, at),
                }
            }
            Token::Sign(sign @ ("[" | "]")) => {
                self.wrong(format!("`{sign}`: every element is computed, none is picked; see get --range"))
            }
            Token::Sign(_) => self.wrong("a value is missing before this"),
            Token::End => self.wrong("a value is missing"),
        }
    }

    /// A word that stands for a value.
    fn word(&mut self, word: &str, at: usize) -> Parsed<Value> {
        let bool = |typing: &mut Typing, bits| typing.builder.constant(DType::Bool, bits).map(Value::Node);
        match word {
            "x" => {
                let x = self.x;
                self.typed(at, |typing| typing.input(0, x))
            }
            "True" | "true" => self.typed(at, |typing| bool(typing, 1)),
            "False" | "false" => self.typed(at, |typing| bool(typing, 0)),
            "pi" => Ok(Value::Float(std::f64::consts::PI)),
            "inf" => Ok(Value::Float(f64::INFINITY)),
            "nan" => Ok(Value::Float(f64::NAN)),
            "and" | "or" | "not" => Err(ExpressionError::at(self.text, at, "a value is missing before this")),
            name => self.array(name, at),
        }
    }

    fn array(&mut self, name: &str, at: usize) -> Parsed<Value> {
        let found = (self.resolve)(name);
        self.typed(at, |typing| {
            let Named { input, dtype } = found.map_err(|why| match Function::find(name) {
                Some(_) if !KEYWORDS.contains(&name) => format!("{name} is a function; write {name}(…)"),
                _ => why,
            })?;
            // The caller counts from x, which is there already.
            if input as usize == typing.builder.inputs().len() {
                typing.builder.add_input(dtype)?;
            }
            typing.input(input, dtype)
        })
    }

    fn call(&mut self, name: &str, at: usize) -> Parsed<Value> {
        let Some(function) = Function::find(name) else {
            return Err(ExpressionError::at(self.text, at, unknown_function(name)));
        };
        self.step()?; // the parenthesis
        let value = self.nested(|parser| match function {
            Function::Where => parser.choice(at),
            _ => parser.arguments(name, function, at),
        })?;
        Ok(value)
    }

    /// What comes after `where(`.
    fn choice(&mut self, at: usize) -> Parsed<Value> {
        let condition = self.or()?;
        self.expect(",")?;
        let condition = self.typed(at, |typing| typing.truth(condition))?;
        let a = self.guarded(condition, at, Self::or)?;
        self.expect(",")?;
        let otherwise = self.typed(at, |typing| typing.negated(condition))?;
        let b = self.guarded(otherwise, at, Self::or)?;
        self.expect(")")?;
        self.typed(at, |typing| typing.choose(condition, a, b))
    }

    /// What comes after the parenthesis of another function.
    fn arguments(&mut self, name: &str, function: Function, at: usize) -> Parsed<Value> {
        let mut values = Vec::new();
        if !self.take_sign(")")? {
            loop {
                values.push(self.or()?);
                if values.len() > function.takes() || !self.take_sign(",")? {
                    break;
                }
            }
            if values.len() <= function.takes() {
                self.expect(")")?;
            }
        }
        if values.len() != function.takes() {
            let plural = if function.takes() == 1 { "value" } else { "values" };
            let problem = format!("{name} takes {} {plural}", function.takes());
            return Err(ExpressionError::at(self.text, at, problem));
        }
        self.typed(at, |typing| match (function, &values[..]) {
            (Function::Cast(dtype), [value]) => typing.cast(*value, dtype),
            (Function::Unary(unary), [value]) => typing.unary(unary, *value),
            (Function::Elementary(binary), [a, b]) => match binary {
                elementary::Binary::Pow => typing.operate(Operator::Pow, *a, *b),
                _ => typing.elementary(binary, *a, *b),
            },
            (Function::Minimum, [a, b]) => typing.minimum(*a, *b),
            (Function::Maximum, [a, b]) => typing.maximum(*a, *b),
            (Function::Clip, [value, low, high]) => {
                let above = typing.maximum(*value, *low)?;
                typing.minimum(above, *high)
            }
            _ => unreachable!("the number of values was just checked"),
        })
    }
}

fn unknown_function(name: &str) -> String {
    if let Ok(reducer) = name.parse::<Reducer>() {
        return format!("{reducer} makes one value of all elements: use `reduce`");
    }
    let names = Function::names();
    match names.iter().find(|known| is_near(name, known)) {
        Some(near) => format!("no function is called {}; is it {near}?", quoted(name)),
        None => format!("no function is called {}; there are {}", quoted(name), names.join(", ")),
    }
}

/// Whether one letter more, less or other makes one word of the other.
fn is_near(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let same = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[same..], &b[same..]);
    let rest = |from: usize, of: &[char]| of.get(from..).unwrap_or_default().to_vec();
    a.len().max(b.len()) > 0 && (rest(1, a) == rest(0, b) || rest(0, a) == rest(1, b) || rest(1, a) == rest(1, b))
}
