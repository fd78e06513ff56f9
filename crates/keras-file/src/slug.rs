//! Group names inside `.weights.h5`: the layer's class in snake case, numbered by appearance.

use std::collections::HashMap;

/// Snake case as Keras makes it (`to_snake_case` in `keras/src/utils/naming.py`).
pub(crate) fn snake_case(class: &str) -> String {
    let chars: Vec<char> = class.chars().filter(|c| c.is_alphanumeric() || *c == '_').collect();
    let mut out = String::with_capacity(class.len());
    let mut previous = None::<char>;
    for (i, c) in chars.iter().enumerate() {
        let next = chars.get(i.saturating_add(1));
        if c.is_ascii_uppercase()
            && let Some(p) = previous
            && (p.is_ascii_lowercase() || next.is_some_and(char::is_ascii_lowercase))
        {
            out.push('_');
        }
        out.extend(c.to_lowercase());
        previous = Some(*c);
    }
    out
}

/// Gives the layers of one model their group names.
#[derive(Default)]
pub(crate) struct Numbering {
    used: HashMap<String, usize>,
}

impl Numbering {
    /// The name for the next layer of `class`: `lstm`, then `lstm_1`, ….
    pub(crate) fn next(&mut self, class: &str) -> String {
        let stem = snake_case(class);
        match self.used.get_mut(&stem) {
            None => {
                self.used.insert(stem.clone(), 0);
                stem
            }
            Some(n) => {
                *n = n.saturating_add(1);
                format!("{stem}_{n}")
            }
        }
    }
}

/// Splits `lstm_10` into its class part and number; `lstm` has number 0.
pub(crate) fn split(slug: &str) -> (&str, u64) {
    match slug.rsplit_once('_') {
        Some((stem, digits)) if !stem.is_empty() => match digits.parse() {
            Ok(n) if digits.bytes().all(|b| b.is_ascii_digit()) => (stem, n),
            _ => (slug, 0),
        },
        _ => (slug, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snake_case_agrees_with_keras() {
        // Right-hand sides printed by Keras 2.15 and 3.15.
        for (class, slug) in [
            ("LSTM", "lstm"),
            ("Bidirectional", "bidirectional"),
            ("GRU", "gru"),
            ("CuDNNLSTM", "cu_dnnlstm"),
            ("RNN", "rnn"),
            ("Conv2DTranspose", "conv2d_transpose"),
            ("BatchNormalization", "batch_normalization"),
            ("MyLSTM", "my_lstm"),
            ("LSTMCell", "lstm_cell"),
            ("InputLayer", "input_layer"),
        ] {
            assert_eq!(snake_case(class), slug);
        }
    }

    #[test]
    fn numbers_are_counted_per_class_and_split_again() {
        let mut numbering = Numbering::default();
        assert_eq!(numbering.next("LSTM"), "lstm");
        assert_eq!(numbering.next("Dense"), "dense");
        assert_eq!(numbering.next("LSTM"), "lstm_1");
        assert_eq!(split("lstm_10"), ("lstm", 10));
        assert_eq!(split("lstm"), ("lstm", 0));
        assert_eq!(split("my_lstm"), ("my_lstm", 0));
        assert_eq!(split("lstm_+1"), ("lstm_+1", 0));
    }
}
