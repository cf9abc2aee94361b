//! Conversion of JSON text from outside to canonical form.

use std::collections::HashMap;

use serde::Serialize;
use simd_json::{Buffers, Node, StaticNode, Tape};
use smallvec::SmallVec;

use super::{MalformedDocument, scan, serde_impl::with_copy};

/// Appends the canonical form of one JSON value: compact, with one spelling for each string and
/// number, and only the last of several equal keys.
pub(super) fn write_canonical(text: &[u8], out: &mut Vec<u8>) -> Result<(), MalformedDocument> {
    with_copy(text, |copy, buffers| {
        let tape = parse_tape(copy, buffers)?;
        let start = out.len();
        write_value(&tape.0, 0, out).ok_or(MalformedDocument::DAMAGED)?;
        let written = out.get(start..).unwrap_or_default();
        // A value that nests too deeply has no end.
        if scan::value_end(written, 0).is_none() {
            return Err(MalformedDocument::new("it nests too deeply"));
        }
        Ok(())
    })
}

fn parse_tape<'t>(
    text: &'t mut [u8],
    buffers: &mut Buffers,
) -> Result<Tape<'t>, MalformedDocument> {
    simd_json::to_tape_with_buffers(text, buffers)
        .map_err(|_| MalformedDocument::new("it is not valid JSON, or nests too deeply"))
}

/// Writes the value that begins at node `at` and returns the node after it.
///
/// Recurses once per level. The parser allows 128 levels.
fn write_value(nodes: &[Node<'_>], at: usize, out: &mut Vec<u8>) -> Option<usize> {
    match *nodes.get(at)? {
        Node::String(text) => write_json(text, out)?,
        Node::Static(scalar) => write_scalar(scalar, out)?,
        Node::Array { len, .. } => return write_array(nodes, at, len, out),
        Node::Object { len, .. } => return write_object(nodes, at, len, out),
    }
    Some(at + 1)
}

fn write_scalar(scalar: StaticNode, out: &mut Vec<u8>) -> Option<()> {
    match scalar {
        StaticNode::Null => write_json(&(), out),
        StaticNode::Bool(bool) => write_json(&bool, out),
        StaticNode::I64(int) => write_json(&int, out),
        StaticNode::U64(int) => write_json(&int, out),
        StaticNode::I128(int) => write_json(&int, out),
        StaticNode::U128(int) => write_json(&int, out),
        // The parser accepts finite floats only.
        StaticNode::F64(float) => write_json(&float, out),
    }
}

fn write_json<T: Serialize + ?Sized>(scalar: &T, out: &mut Vec<u8>) -> Option<()> {
    serde_json::to_writer(out, scalar).ok()
}

fn write_array(nodes: &[Node<'_>], at: usize, len: usize, out: &mut Vec<u8>) -> Option<usize> {
    let mut at = at + 1;
    out.push(b'[');
    for element in 0..len {
        if element > 0 {
            out.push(b',');
        }
        at = write_value(nodes, at, out)?;
    }
    out.push(b']');
    Some(at)
}

fn write_object(nodes: &[Node<'_>], at: usize, len: usize, out: &mut Vec<u8>) -> Option<usize> {
    let members = last_of_each_key(nodes, at + 1, len)?;
    out.push(b'{');
    for (nth, &member) in members.iter().enumerate() {
        if nth > 0 {
            out.push(b',');
        }
        let value = write_value(nodes, member, out)?;
        out.push(b':');
        write_value(nodes, value, out)?;
    }
    out.push(b'}');
    next_node(nodes, at)
}

/// Returns the node after the value at `at`.
fn next_node(nodes: &[Node<'_>], at: usize) -> Option<usize> {
    let children = match nodes.get(at)? {
        Node::Array { count, .. } | Node::Object { count, .. } => *count,
        Node::String(_) | Node::Static(_) => 0,
    };
    Some(at + 1 + children)
}

/// Returns the key nodes of an object. If keys are equal, the first determines the position and the
/// last determines the value.
fn last_of_each_key(
    nodes: &[Node<'_>],
    mut at: usize,
    len: usize,
) -> Option<SmallVec<[usize; 16]>> {
    /// Maximum number of members for which comparing all pairs is cheaper than a map.
    const LINEAR_MAX: usize = 16;
    let mut members = SmallVec::<[usize; 16]>::new();
    let mut position_by_key = HashMap::new();
    for _ in 0..len {
        let Some(Node::String(key)) = nodes.get(at) else {
            return None;
        };
        let duplicate = if len <= LINEAR_MAX {
            members
                .iter()
                .position(|&member| matches!(nodes.get(member), Some(Node::String(k)) if k == key))
        } else {
            position_by_key.insert(*key, members.len())
        };
        match duplicate.and_then(|position| Some((position, members.get_mut(position)?))) {
            Some((position, member)) => {
                *member = at;
                if len > LINEAR_MAX {
                    position_by_key.insert(*key, position);
                }
            }
            None => members.push(at),
        }
        at = next_node(nodes, at + 1)?;
    }
    Some(members)
}
