//! A node's attributes, of the kinds that are read here.

use super::count::{Count, at_most};
use super::protobuf::{Fields, Value, Varints, text};
use crate::budget::MAX_GRAPH_FIELDS;
use crate::error::{BundleError, fail};

/// An attribute's value, of the kinds that are read here.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeValue<'a> {
    Float(f32),
    Int(i64),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Text(&'a str),
    Tensor(&'a [u8]),
    /// Graphs, sparse tensors, and lists of either.
    Other,
}

/// Counts the fields of an attribute, and the numbers of a packed list, which are read whenever an attribute of the node
/// is looked for.
pub(super) fn count_fields(attribute: &[u8], fields: &mut Count) -> Result<(), BundleError> {
    for field in Fields(attribute) {
        let packed = match field? {
            (7, Value::Bytes(packed)) => packed.len() / 4,
            (8, Value::Bytes(packed)) => packed.iter().filter(|byte| **byte < 0x80).count(),
            _ => 0,
        };
        fields.add(packed.saturating_add(1))?;
    }
    Ok(())
}

pub(super) fn read_attribute(bytes: &[u8]) -> Result<(&str, AttributeValue<'_>), BundleError> {
    let (mut name, mut value) = ("", AttributeValue::Other);
    let (mut ints, mut floats, mut kind) = (Vec::new(), Vec::new(), 0);
    // A bit for each field that holds more than its type's default, and whether one that holds one value came twice.
    let (mut held, mut twice) = (0u64, false);
    for field in Fields(bytes) {
        let field = field?;
        if let (number @ 2..=11, content) = field
            && !content.is_default()
        {
            twice |= number <= 6 && held & 1 << number != 0;
            held |= 1 << number;
        }
        match field {
            (1, Value::Bytes(found)) => name = text(found)?,
            // Some writers state every field.
            (2..=5, content) if content.is_default() && held != 0 => {}
            (2, Value::Fixed(bits)) => value = AttributeValue::Float(float(bits)),
            (3, Value::Number(int)) => value = AttributeValue::Int(int as i64),
            (4, Value::Bytes(bytes)) => value = AttributeValue::Text(text(bytes)?),
            (5, Value::Bytes(tensor)) => value = AttributeValue::Tensor(tensor),
            (7, Value::Fixed(bits)) => floats.push(float(bits)),
            (7, Value::Bytes(packed)) => {
                floats.extend(packed.chunks_exact(4).take(MAX_GRAPH_FIELDS + 1).map(float));
            }
            (8, Value::Number(int)) => ints.push(int as i64),
            (8, Value::Bytes(packed)) => {
                for int in Varints(packed).take(MAX_GRAPH_FIELDS + 1) {
                    ints.push(int? as i64);
                }
            }
            (20, Value::Number(found)) => kind = found,
            _ => {}
        }
        at_most("an attribute's numbers", ints.len().max(floats.len()), MAX_GRAPH_FIELDS)?;
    }
    // Of values of several kinds another reader takes another one.
    let other = if (1..=10).contains(&kind) { held & !(1 << (kind + 1)) != 0 } else { held.count_ones() > 1 };
    if twice || other {
        let name = name.escape_default();
        fail!(Invalid, "the attribute `{name}` has values of several kinds: the ONNX file is damaged");
    }
    // The file omits empty lists and zeros, so the stated type decides.
    Ok((
        name,
        match kind {
            1 if value == AttributeValue::Other => AttributeValue::Float(0.0),
            2 if value == AttributeValue::Other => AttributeValue::Int(0),
            6 => AttributeValue::Floats(floats),
            7 => AttributeValue::Ints(ints),
            0 if !floats.is_empty() => AttributeValue::Floats(floats),
            0 if !ints.is_empty() => AttributeValue::Ints(ints),
            _ => value,
        },
    ))
}

fn float(bits: &[u8]) -> f32 {
    bits.try_into().map(f32::from_le_bytes).unwrap_or(f32::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_of_two_kinds_is_refused() {
        use crate::onnx::{int_attribute, ints_attribute};
        let (one, list) = (int_attribute("axis", 1), ints_attribute("axis", &[5]));
        assert_eq!(read_attribute(&one).unwrap().1, AttributeValue::Int(1));
        assert_eq!(read_attribute(&list).unwrap().1, AttributeValue::Ints(vec![5]));
        for both in [[&one[..], &list].concat(), [&list[..], &one].concat(), [&one[..], &one].concat()] {
            assert_eq!(read_attribute(&both).unwrap_err().kind(), crate::error::BundleErrorKind::Invalid);
        }
        // A default beside it says nothing.
        let beside = [&one[..], &[0x15, 0, 0, 0, 0]].concat();
        assert_eq!(read_attribute(&beside).unwrap().1, AttributeValue::Int(1));
    }
}
