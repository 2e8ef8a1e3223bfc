//! How much is read of a graph. A file of a few bytes for each field is refused before its fields take memory or time.

use super::protobuf::{Fields, Value};
use crate::budget::{MAX_GRAPH_FIELDS, MAX_GRAPH_PARTS};
use crate::error::{BundleError, fail};

/// How many of something were read, and how many there may be.
pub(super) struct Count {
    what: &'static str,
    found: usize,
    most: usize,
}

impl Count {
    pub(super) fn of(what: &'static str, most: usize) -> Count {
        Count { what, found: 0, most }
    }

    pub(super) fn add(&mut self, more: usize) -> Result<(), BundleError> {
        self.found = self.found.saturating_add(more);
        at_most(self.what, self.found, self.most)
    }
}

/// What was read of a graph.
pub(super) struct Counts {
    /// Nodes, names of values, attributes, constants, inputs and outputs.
    pub(super) parts: Count,
    /// All other fields that are looked at.
    pub(super) fields: Count,
}

impl Counts {
    pub(super) fn of_a_graph() -> Counts {
        Counts {
            parts: Count::of("the graph's parts", MAX_GRAPH_PARTS),
            fields: Count::of("the fields of the graph's nodes, attributes, inputs and outputs", MAX_GRAPH_FIELDS),
        }
    }
}

/// Looks at each field of a message, and counts it.
pub(super) fn each<'a>(
    bytes: &'a [u8],
    fields: &mut Count,
    mut look: impl FnMut((u64, Value<'a>), &mut Count) -> Result<(), BundleError>,
) -> Result<(), BundleError> {
    for field in Fields(bytes) {
        fields.add(1)?;
        look(field?, fields)?;
    }
    Ok(())
}

pub(super) fn at_most(what: &str, found: usize, most: usize) -> Result<(), BundleError> {
    if found > most {
        fail!(TooLarge, "{what} are more than {most}: expected the graph of a model");
    }
    Ok(())
}
