//! Every message of a kind of error, for a snapshot.

use std::error::Error;

/// The messages of every variant of an enum of errors, from a row `pattern => sample` for each. A variant without a row does
/// not compile, so that none is added without a message that somebody has read.
#[macro_export]
macro_rules! messages {
    ($kind:ty { $($pattern:pat => $sample:expr),+ $(,)? }) => {{
        let _each_has_a_row = |error: &$kind| match error { $($pattern => ()),+ };
        let mut text = String::new();
        $(
            let error: $kind = $sample;
            assert!(matches!(&error, $pattern), "{error:?} is no {}", stringify!($pattern));
            text += &$crate::message(&error);
        )+
        text
    }};
}

/// An error and its causes, under the name of its variant.
pub fn message(error: &dyn Error) -> String {
    let shown = format!("{error:?}");
    let variant: String = shown.chars().take_while(|c| c.is_alphanumeric()).collect();
    let mut text = format!("{variant}\n");
    let mut next = Some(error);
    while let Some(error) = next {
        for line in error.to_string().lines() {
            text += &format!("    {line}\n");
        }
        next = error.source();
    }
    text
}
