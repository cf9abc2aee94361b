//! Text from outside, made canonical.

use std::collections::HashMap;

use simd_json::{Buffers, Node, StaticNode, Tape};
use smallvec::SmallVec;

use super::{MAX_DEPTH, MalformedDocument, scan, serde_impl};

/// Appends the canonical form of any one JSON value: compact, one spelling for every string and
/// number, the last of equal keys only.
pub(super) fn canonical(text: &[u8], out: &mut Vec<u8>) -> Result<(), MalformedDocument> {
    serde_impl::with_copy(text, |copy, buffers| {
        let tape = tape(copy, buffers)?;
        let start = out.len();
        write_value(&tape.0, 0, out).ok_or(MalformedDocument::DAMAGED)?;
        let shape = out.get(start..).and_then(scan::shape);
        match shape {
            Some(shape) if shape.depth <= MAX_DEPTH => Ok(()),
            _ => Err(MalformedDocument::new("it nests too deep")),
        }
    })
}

fn tape<'t>(text: &'t mut [u8], buffers: &mut Buffers) -> Result<Tape<'t>, MalformedDocument> {
    simd_json::to_tape_with_buffers(text, buffers)
        .map_err(|_| MalformedDocument::new("it is not valid JSON, or nests too deep"))
}

/// Writes the value that begins at node `at`, and gives the node behind it.
///
/// Recurses once for each level: the parser allows 128.
fn write_value(nodes: &[Node<'_>], at: usize, out: &mut Vec<u8>) -> Option<usize> {
    match *nodes.get(at)? {
        Node::String(text) => serde_impl::to_json(text, out).ok()?,
        Node::Static(scalar) => write_scalar(scalar, out)?,
        Node::Array { len, .. } => return write_array(nodes, at, len, out),
        Node::Object { len, .. } => return write_object(nodes, at, len, out),
    }
    Some(at + 1)
}

fn write_scalar(scalar: StaticNode, out: &mut Vec<u8>) -> Option<()> {
    match scalar {
        StaticNode::Null => serde_impl::to_json(&(), out),
        StaticNode::Bool(bool) => serde_impl::to_json(&bool, out),
        StaticNode::I64(int) => serde_impl::to_json(&int, out),
        StaticNode::U64(int) => serde_impl::to_json(&int, out),
        StaticNode::I128(int) => serde_impl::to_json(&int, out),
        StaticNode::U128(int) => serde_impl::to_json(&int, out),
        StaticNode::F64(float) => serde_impl::to_json(&float, out),
    }
    .ok()
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
    end_of(nodes, at)
}

/// The node behind the value at `at`.
fn end_of(nodes: &[Node<'_>], at: usize) -> Option<usize> {
    let inside = match nodes.get(at)? {
        Node::Array { count, .. } | Node::Object { count, .. } => *count,
        Node::String(_) | Node::Static(_) => 0,
    };
    Some(at + 1 + inside)
}

/// The key nodes of an object. Of equal keys the first keeps its place in the order, and the last
/// gives the value.
fn last_of_each_key(
    nodes: &[Node<'_>],
    mut at: usize,
    len: usize,
) -> Option<SmallVec<[usize; 16]>> {
    /// Up to here, comparing all pairs is cheaper than a map.
    const FEW: usize = 16;
    let mut members = SmallVec::<[usize; 16]>::new();
    let mut seen = HashMap::new();
    for _ in 0..len {
        let Some(Node::String(key)) = nodes.get(at) else {
            return None;
        };
        let same = if len <= FEW {
            members
                .iter()
                .position(|&member| matches!(nodes.get(member), Some(Node::String(k)) if k == key))
        } else {
            seen.insert(*key, members.len())
        };
        match same.and_then(|same| Some((same, members.get_mut(same)?))) {
            Some((place, member)) => {
                *member = at;
                if len > FEW {
                    seen.insert(*key, place);
                }
            }
            None => members.push(at),
        }
        at = end_of(nodes, at + 1)?;
    }
    Some(members)
}
