//! The Rust types that stand for a [`DType`].

use std::fmt::{Debug, Display};

use bytemuck::Pod;

use crate::DType;

/// A Rust type whose bytes are an element of [`Element::DTYPE`]. Sealed: a dtype has exactly one such type.
///
/// `bool` is missing because not every byte is one, complex numbers because Rust has no type for them;
/// both are kept as bytes.
pub trait Element: sealed::Sealed + Pod + Send + Sync + PartialEq + PartialOrd + Default + Debug + Display {
    /// The dtype whose elements have this type.
    const DTYPE: DType;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! elements {
    ($($type:ty => $dtype:ident),* $(,)?) => {
        $(
            impl sealed::Sealed for $type {}
            impl Element for $type {
                const DTYPE: DType = DType::$dtype;
            }
        )*

        #[cfg(test)]
        mod tests {
            use super::*;

            #[test]
            fn sizes_agree_with_the_dtypes() {
                $(assert_eq!(size_of::<$type>(), <$type>::DTYPE.size(), "{}", <$type>::DTYPE);)*
            }
        }
    };
}

elements! {
    i8 => Int8, i16 => Int16, i32 => Int32, i64 => Int64,
    u8 => UInt8, u16 => UInt16, u32 => UInt32, u64 => UInt64,
    f32 => Float32, f64 => Float64,
}
