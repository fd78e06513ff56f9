//! The nonlinearities an LSTM cell may use.

use std::fmt;

/// An activation function, with the two definitions of hard sigmoid told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// Hyperbolic tangent.
    Tanh,
    /// Logistic sigmoid 1 / (1 + e⁻ˣ).
    Sigmoid,
    /// clip(0.2·x + 0.5, 0, 1): Keras 1 and 2, and `tf.keras` (`keras/backend.py`).
    HardSigmoidKeras2,
    /// clip(x/6 + 0.5, 0, 1): Keras 3, which gave another function the same name.
    HardSigmoidKeras3,
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
    /// x for positive x, eˣ − 1 otherwise.
    Elu,
    /// ln(1 + eˣ).
    Softplus,
    /// x / (1 + |x|).
    Softsign,
    /// x.
    Linear,
}

impl Activation {
    /// Every activation.
    pub const ALL: [Activation; 10] = [
        Activation::Tanh,
        Activation::Sigmoid,
        Activation::HardSigmoidKeras2,
        Activation::HardSigmoidKeras3,
        Activation::Relu,
        Activation::Relu6,
        Activation::Elu,
        Activation::Softplus,
        Activation::Softsign,
        Activation::Linear,
    ];

    /// The name Keras gives the function in a layer's config; both hard sigmoids share one.
    pub fn keras_name(self) -> &'static str {
        match self {
            Activation::Tanh => "tanh",
            Activation::Sigmoid => "sigmoid",
            Activation::HardSigmoidKeras2 | Activation::HardSigmoidKeras3 => "hard_sigmoid",
            Activation::Relu => "relu",
            Activation::Relu6 => "relu6",
            Activation::Elu => "elu",
            Activation::Softplus => "softplus",
            Activation::Softsign => "softsign",
            Activation::Linear => "linear",
        }
    }

    /// The activation that a Keras config names, as the Keras of that major version computes it. `None` for a function
    /// that no LSTM lane implements.
    pub fn from_keras(name: &str, keras_major: u32) -> Option<Activation> {
        if name == "hard_sigmoid" {
            return Some(if keras_major >= 3 { Activation::HardSigmoidKeras3 } else { Activation::HardSigmoidKeras2 });
        }
        Activation::ALL.into_iter().find(|a| a.keras_name() == name)
    }

    /// The activation computed by a TensorFlow operation of this type, such as `Tanh` or `Relu`.
    pub fn from_tf_op(op: &str) -> Option<Activation> {
        Some(match op {
            "Tanh" => Activation::Tanh,
            "Sigmoid" => Activation::Sigmoid,
            "Relu" => Activation::Relu,
            "Relu6" => Activation::Relu6,
            "Elu" => Activation::Elu,
            "Softplus" => Activation::Softplus,
            "Softsign" => Activation::Softsign,
            "Identity" => Activation::Linear,
            _ => return None,
        })
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Activation::HardSigmoidKeras2 => "hard_sigmoid (Keras 2: 0.2x + 0.5)",
            Activation::HardSigmoidKeras3 => "hard_sigmoid (Keras 3: x/6 + 0.5)",
            other => other.keras_name(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hard_sigmoid_depends_on_the_keras_that_runs_it() {
        assert_eq!(Activation::from_keras("hard_sigmoid", 2), Some(Activation::HardSigmoidKeras2));
        assert_eq!(Activation::from_keras("hard_sigmoid", 3), Some(Activation::HardSigmoidKeras3));
        assert_eq!(Activation::from_keras("relu", 3), Some(Activation::Relu));
        assert_eq!(Activation::from_keras("my_activation", 3), None);
        for activation in Activation::ALL {
            let meant = [2, 3].map(|major| Activation::from_keras(activation.keras_name(), major));
            assert!(meant.contains(&Some(activation)), "{activation}: the name means it in one Keras at least");
        }
    }
}
