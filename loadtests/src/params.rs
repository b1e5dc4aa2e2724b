//! Which numbers does a scenario run with?
//!
//! Each scenario has a file under `scenarios/`, built into the program. Its `[quick]` table replaces values
//! for short runs; flags of the command line replace both.

use std::io;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// What the command line says about a run.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// Use the values for short runs.
    pub quick: bool,
    /// Replaces `seconds`.
    pub seconds: Option<f64>,
    /// Replaces `rounds`.
    pub rounds: Option<u32>,
}

/// Reads a scenario's values.
pub fn read<T: DeserializeOwned>(text: &str, wishes: &Wishes) -> io::Result<T> {
    let bad = |error: toml::de::Error| io::Error::other(format!("scenario file: {error}"));
    let mut table: Table = text.parse().map_err(bad)?;
    if let Some(Value::Table(quick)) = table.remove("quick")
        && wishes.quick
    {
        table.extend(quick);
    }
    if let Some(seconds) = wishes.seconds
        && table.contains_key("seconds")
    {
        table.insert("seconds".to_owned(), Value::Float(seconds));
    }
    if let Some(rounds) = wishes.rounds
        && table.contains_key("rounds")
    {
        table.insert("rounds".to_owned(), Value::Integer(rounds.into()));
    }
    table.try_into().map_err(bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Values {
        seconds: f64,
        rounds: u32,
    }

    #[test]
    fn flags_win_over_quick_values_and_those_over_the_file() {
        let text = "seconds = 1.5\nrounds = 5\n[quick]\nseconds = 0.5\n";
        let cases = [
            (Wishes::default(), Values { seconds: 1.5, rounds: 5 }),
            (Wishes { quick: true, ..Wishes::default() }, Values { seconds: 0.5, rounds: 5 }),
            (
                Wishes { quick: true, seconds: Some(2.0), rounds: Some(1) },
                Values { seconds: 2.0, rounds: 1 },
            ),
        ];
        for (wishes, values) in cases {
            assert_eq!(read::<Values>(text, &wishes).expect("values"), values, "{wishes:?}");
        }
    }
}
