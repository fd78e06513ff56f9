//! Which Keras's functions the names in a file mean: Keras 2 and Keras 3 call different functions `hard_sigmoid`.

use std::path::Path;

use keras_file::{Generation, KerasFile, Lstm};
use lstm::{Activation, KerasCell};

use crate::error::CliError;
use crate::source::Subject;

/// The Keras whose functions a file's names mean.
#[derive(Clone, Copy)]
pub(crate) struct Meaning {
    /// Its major version, where the user or the file says so.
    stated: Option<u32>,
    from: &'static str,
}

impl Meaning {
    /// By the user's word, else by the file's.
    pub(crate) fn of(file: &KerasFile, said: Option<u32>) -> Meaning {
        let from = match (said, &file.keras_version, file.keras_major) {
            (Some(_), ..) => "by --keras",
            (None, Some(_), _) => "by the file's keras_version",
            (None, None, Some(_)) => "by what the file's writer is known by",
            (None, None, None) => "the file does not say which Keras it is for: --keras does",
        };
        Meaning { stated: said.or(file.keras_major), from }
    }

    /// The major version whose functions a layer's configuration names.
    pub(crate) fn major(self) -> u32 {
        self.stated.unwrap_or(2)
    }

    /// What a layer without configuration computes where its model names this function: the same, unless a Keras is stated
    /// that gives the name to another.
    pub(crate) fn instead_of(self, function: Activation) -> Activation {
        let meant = self.stated.and_then(|major| Activation::from_keras(function.keras_name(), major));
        meant.unwrap_or(function)
    }

    /// How the hard sigmoid that a configuration names is taken, if one does.
    pub(crate) fn note(self, file: &KerasFile) -> Option<String> {
        let hard = |lstm: &Lstm| {
            let config = lstm.config.as_ref();
            config.is_some_and(|c| [&c.activation, &c.recurrent_activation].into_iter().any(|f| f == "hard_sigmoid"))
        };
        let named = file.layers.iter().flat_map(|l| l.kind.lstms()).any(hard);
        named.then(|| self.taken_as(self.major()))
    }

    /// The same for layers without configuration, which compute what these cells do.
    pub(crate) fn note_of_weights<'c>(self, mut cells: impl Iterator<Item = &'c KerasCell>) -> Option<String> {
        let own = cells.find_map(only_keras)?;
        Some(self.taken_as(self.stated.unwrap_or(own)))
    }

    fn taken_as(self, major: u32) -> String {
        format!("hard_sigmoid is taken as Keras {major}'s, {} ({})", hard_sigmoid(major), self.from)
    }

    /// Whether a model of the stated Keras that names this cell's functions computes them.
    ///
    /// # Errors
    /// If not, why, in words.
    pub(crate) fn fits(self, cell: &KerasCell) -> Result<(), String> {
        match self.stated.and_then(|major| Some((major, cell.unlike_in(major)?))) {
            None => Ok(()),
            Some((major, function)) => Err(format!(
                "the file is for Keras {major}, where {} means {}: the checkpoint's LSTM needs {function}",
                function.keras_name(),
                hard_sigmoid(major)
            )),
        }
    }
}

/// The Keras that a cell is only right in, if there is but one.
fn only_keras(cell: &KerasCell) -> Option<u32> {
    match [2, 3].map(|major| cell.means_itself_in(major)) {
        [true, false] => Some(2),
        [false, true] => Some(3),
        _ => None,
    }
}

fn hard_sigmoid(major: u32) -> &'static str {
    if major >= 3 { "x/6 + 0.5" } else { "0.2x + 0.5" }
}

/// The Keras to write for: the user's word; else for weights alone, which name no function, the one that has the cells'.
///
/// # Errors
/// If the Keras asked for gives the name of a cell's function to another, or a model would name a function without anybody
/// having said which Keras will load it.
pub(crate) fn generation(
    said: Option<u32>,
    whole_model: bool,
    subjects: &[Subject],
    checkpoint: &Path,
) -> Result<Generation, CliError> {
    let cells: Vec<(&str, &KerasCell)> = subjects
        .iter()
        .flat_map(|s| s.found.cells().into_iter().map(|c| c.name.as_str()).zip(s.keras.cells()))
        .collect();
    let unlike = |major: u32| cells.iter().find_map(|(name, cell)| Some((major, *name, cell.unlike_in(major)?)));
    let (asked, misfit) = match said {
        Some(major) => (format!("for Keras {major}"), unlike(major)),
        None if whole_model => ("as a model that any Keras may load".to_owned(), unlike(3).or_else(|| unlike(2))),
        None => ("for one Keras".to_owned(), unlike(2).filter(|_| unlike(3).is_some())),
    };
    if let Some((major, cell, function)) = misfit {
        return Err(CliError::OtherKeras {
            checkpoint: checkpoint.to_owned(),
            asked,
            cell: cell.to_owned(),
            function,
            elsewhere: format!("in Keras {major} that name means {}", hard_sigmoid(major)),
            own: if major == 2 { 3 } else { 2 },
        });
    }
    Ok(match said {
        Some(3) => Generation::Three,
        Some(_) => Generation::Two,
        None if unlike(2).is_some() => Generation::Three,
        None => Generation::Any,
    })
}
