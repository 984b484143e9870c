//! Loops over elements: one value from one, two or three.
//!
//! Where a loop takes several, one of [`PART`] elements is repeated: so a constant takes little of the cache.

use super::Loop;

/// `output = function(a)`.
pub struct Map1<'a, A, O, F>(pub &'a [A], pub &'a mut [O], pub F);

/// `output = function(a, b)`.
pub struct Map2<'a, A, B, O, F>(pub &'a [A], pub &'a [B], pub &'a mut [O], pub F);

/// `output = function(a, b, c)`.
pub struct Map3<'a, A, B, C, O, F>(pub &'a [A], pub &'a [B], pub &'a [C], pub &'a mut [O], pub F);

/// `output = fast(a, b)` where it holds, else `slow(a, b)`.
pub struct Map2Fast<'a, T, H, F, S> {
    /// First values.
    pub a: &'a [T],
    /// Second values.
    pub b: &'a [T],
    /// Results.
    pub output: &'a mut [T],
    /// Whether `fast` gives what `slow` does.
    pub holds: H,
    /// Without a branch.
    pub fast: F,
    /// For the others.
    pub slow: S,
}

/// Elements that an inner loop goes through: a few vectors. Also those between two looks for elements of the slow way.
pub const PART: usize = 64;

/// Whether any element is so.
pub struct Any1<'a, A, F>(pub &'a [A], pub F);

/// Whether any pair of elements is so.
pub struct Any2<'a, A, B, F>(pub &'a [A], pub &'a [B], pub F);

impl<A: Copy, O, F: Fn(A) -> O> Loop for Map1<'_, A, O, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Map1(a, output, function) = self;
        for (y, a) in output.iter_mut().zip(a) {
            *y = function(*a);
        }
    }
}

impl<A: Copy, B: Copy, O, F: Fn(A, B) -> O> Loop for Map2<'_, A, B, O, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Map2(a, b, output, function) = self;
        let (parts, rest) = output.as_chunks_mut::<PART>();
        let done = parts.len() * PART;
        for (at, output) in parts.iter_mut().enumerate() {
            let (a, b): (&[A; PART], &[B; PART]) = (part(a, at), part(b, at));
            for ((y, a), b) in output.iter_mut().zip(a).zip(b) {
                *y = function(*a, *b);
            }
        }
        for ((y, a), b) in rest.iter_mut().zip(tail(a, done)).zip(tail(b, done)) {
            *y = function(*a, *b);
        }
    }
}

/// Elements of part `at` of a value, or all that are repeated.
#[inline(always)]
fn part<T>(values: &[T], at: usize) -> &[T; PART] {
    let (parts, _) = values.as_chunks();
    if values.len() == PART { &parts[0] } else { &parts[at] }
}

/// Elements of a value from `from` on, where a part begins; or all that are repeated.
#[inline(always)]
fn tail<T>(values: &[T], from: usize) -> &[T] {
    if values.len() <= PART { values } else { &values[from..] }
}

impl<A: Copy, B: Copy, C: Copy, O, F: Fn(A, B, C) -> O> Loop for Map3<'_, A, B, C, O, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Map3(a, b, c, output, function) = self;
        let (parts, rest) = output.as_chunks_mut::<PART>();
        let done = parts.len() * PART;
        for (at, output) in parts.iter_mut().enumerate() {
            let (a, b, c): (&[A; PART], &[B; PART], &[C; PART]) = (part(a, at), part(b, at), part(c, at));
            for (((y, a), b), c) in output.iter_mut().zip(a).zip(b).zip(c) {
                *y = function(*a, *b, *c);
            }
        }
        for (((y, a), b), c) in rest.iter_mut().zip(tail(a, done)).zip(tail(b, done)).zip(tail(c, done)) {
            *y = function(*a, *b, *c);
        }
    }
}

impl<T: Copy, H: Fn(T, T) -> bool, F: Fn(T, T) -> T, S: Fn(T, T) -> T> Loop for Map2Fast<'_, T, H, F, S> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Map2Fast { a, b, output, holds, fast, slow } = self;
        for (at, output) in output.chunks_mut(PART).enumerate() {
            let (a, b) = (tail(a, at * PART), tail(b, at * PART));
            let mut all = true;
            for ((y, a), b) in output.iter_mut().zip(a).zip(b) {
                *y = fast(*a, *b);
                all &= holds(*a, *b);
            }
            if !all {
                for ((y, a), b) in output.iter_mut().zip(a).zip(b).filter(|((_, a), b)| !holds(**a, **b)) {
                    *y = slow(*a, *b);
                }
            }
        }
    }
}

impl<A: Copy, F: Fn(A) -> bool> Loop for Any1<'_, A, F> {
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        let Any1(a, is_so) = self;
        let mut any = false;
        for a in a {
            any |= is_so(*a);
        }
        any
    }
}

impl<A: Copy, B: Copy, F: Fn(A, B) -> bool> Loop for Any2<'_, A, B, F> {
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        let Any2(a, b, is_so) = self;
        let mut any = false;
        for (a, b) in a.iter().zip(b) {
            any |= is_so(*a, *b);
        }
        any
    }
}
