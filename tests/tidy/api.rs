//! The public interface as text, read from the source.
//!
//! Every `pub` item is reachable for users, since the lint `unreachable_pub` is on. So the text needs
//! no compiler. It has one line for each item, field, variant, method and implementation of a trait.

use std::collections::{BTreeMap, BTreeSet};

use crate::code::{Source, is_name};

/// The kind of a pair of braces.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    /// A file, a module, or a macro around items.
    Items,
    Struct,
    Enum,
    Trait,
    /// Methods of a type.
    Methods,
    /// A body, or anything else without items for users.
    Body,
}

/// Returns the listing of these files, in their order.
pub(crate) fn listing(sources: &[Source]) -> String {
    let sources = sources.iter().filter(|source| !source.is_test());
    let sources: Vec<&Source> = sources.filter(|source| source.folder() != "bin").collect();
    let types: BTreeSet<&str> = sources
        .iter()
        .flat_map(|source| public_types(&source.code))
        .collect();
    let mut listing = String::new();
    for source in sources {
        let lines = Reader::read(&source.code, &types);
        if !lines.is_empty() {
            listing += &format!("{}\n", source.path);
            lines
                .iter()
                .for_each(|line| listing += &format!("  {line}\n"));
        }
    }
    listing
}

/// Returns the lines of one listing that the other does not have, each with its file and its owner.
pub(crate) fn difference(listing: &str, other: &str) -> Vec<String> {
    let other: BTreeSet<String> = owned_lines(other).into_iter().collect();
    let lines = owned_lines(listing).into_iter();
    lines.filter(|line| !other.contains(line)).collect()
}

/// Returns the lines of a listing, each with its file, the type of a member, and the variant of a field.
/// Repeated lines get a number.
fn owned_lines(listing: &str) -> Vec<String> {
    let (mut file, mut item, mut variant) = ("", "", "");
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut lines = Vec::new();
    for line in listing.lines() {
        let Some(inner) = line.strip_prefix("  ") else {
            file = line;
            continue;
        };
        let owned = match inner.strip_prefix("  ") {
            None => {
                (item, variant) = (inner, "");
                format!("{file}: {inner}")
            }
            Some(member) if item.contains("pub enum ") && is_variant(member) => {
                variant = member;
                format!("{file}: {item}: {member}")
            }
            Some(member) if variant.is_empty() => format!("{file}: {item}: {member}"),
            Some(field) => format!("{file}: {item}: {variant}: {field}"),
        };
        let count = counts.entry(owned.clone()).or_default();
        *count += 1;
        lines.push(match *count {
            1 => owned,
            repeated => format!("{owned} ({repeated})"),
        });
    }
    lines
}

/// Returns `true` for a line of an enum that is a variant, not a field of one.
fn is_variant(line: &str) -> bool {
    let name = line.rsplit("#[").next().unwrap_or_default();
    let name = name.split_once("] ").map_or(name, |(_, name)| name);
    name.starts_with(char::is_uppercase)
}

/// Returns the names of the types and traits that are `pub`.
fn public_types(code: &str) -> impl Iterator<Item = &str> {
    ["pub struct ", "pub enum ", "pub trait ", "pub type "]
        .into_iter()
        .flat_map(move |start| code.split(start).skip(1))
        .map(|rest| rest.split(|c| !is_name(c)).next().unwrap_or_default())
}

/// Reads one file from its start to its end.
struct Reader<'r> {
    types: &'r BTreeSet<&'r str>,
    lines: Vec<String>,
    blocks: Vec<Block>,
    /// The head of the methods that were opened last, until the first of them is listed.
    pending_head: Option<String>,
}

impl<'r> Reader<'r> {
    fn read(code: &str, types: &'r BTreeSet<&'r str>) -> Vec<String> {
        let (lines, blocks, pending_head) = (Vec::new(), vec![Block::Items], None);
        let mut reader = Self {
            types,
            lines,
            blocks,
            pending_head,
        };
        let (mut start, mut depth, mut before) = (0, 0_i32, ' ');
        for (at, c) in code.char_indices() {
            let head = &code[start..at];
            let is_list = matches!(reader.block(), Block::Struct | Block::Enum);
            // The braces of an import are a part of it.
            let is_block = |depth| depth == 0 && !strip_attributes(head).1.starts_with("pub use");
            match c {
                '(' | '[' => depth += 1,
                ')' | ']' => depth -= 1,
                '<' if is_list => depth += 1,
                '>' if is_list && before != '-' => depth -= 1,
                '{' if is_block(depth) => {
                    let block = reader.open(head);
                    reader.blocks.push(block);
                    start = at + 1;
                }
                '}' if is_block(depth) => {
                    reader.end(head);
                    reader.blocks.pop();
                    start = at + 1;
                }
                ';' if depth == 0 => {
                    reader.end(head);
                    start = at + 1;
                }
                ',' if depth == 0 && is_list => {
                    reader.end(head);
                    start = at + 1;
                }
                _ => {}
            }
            before = c;
        }
        reader.lines
    }

    fn block(&self) -> Block {
        self.blocks.last().copied().unwrap_or(Block::Body)
    }

    /// Lists an item whose braces open, and returns their kind.
    fn open(&mut self, head: &str) -> Block {
        let (attributes, item) = strip_attributes(head);
        let is_methods = item.starts_with("impl") || item.starts_with("unsafe impl");
        match self.block() {
            Block::Items if is_methods => return self.open_methods(&item),
            // A module, or a macro around items.
            Block::Items if item.starts_with("mod ") || item.starts_with("pub mod ") => {
                self.list(&attributes, &item);
                return Block::Items;
            }
            Block::Items if item.ends_with('!') && !item.starts_with("macro_rules") => {
                return Block::Items;
            }
            _ => self.list(&attributes, &item),
        }
        let kinds = [
            ("pub struct ", Block::Struct),
            ("pub enum ", Block::Enum),
            ("pub trait ", Block::Trait),
        ];
        let kind = kinds.iter().find(|(start, _)| item.starts_with(start));
        match self.block() {
            Block::Items => kind.map_or(Block::Body, |(_, block)| *block),
            // The fields of a variant.
            Block::Enum => Block::Enum,
            _ => Block::Body,
        }
    }

    /// Lists the implementation of a trait for a public type. The head of other methods waits for the
    /// first of them that is public.
    fn open_methods(&mut self, item: &str) -> Block {
        let Some((_, target)) = item.split_once(" for ") else {
            self.pending_head = Some(item.to_owned());
            return Block::Methods;
        };
        let names: Vec<&str> = target
            .split(|c| !is_name(c))
            .filter(|name| !name.is_empty())
            .collect();
        let of_trait = item.split(|c| !is_name(c));
        let is_public = names
            .iter()
            .chain(&of_trait.collect::<Vec<_>>())
            .any(|name| self.types.contains(name));
        if is_public {
            self.lines.push(item.to_owned());
        }
        Block::Body
    }

    /// Lists an item that ends.
    fn end(&mut self, head: &str) {
        let (attributes, item) = strip_attributes(head);
        self.list(&attributes, &item);
    }

    fn list(&mut self, attributes: &str, item: &str) {
        let is_public = item.starts_with("pub ");
        let indent = match self.block() {
            Block::Items if is_public => "",
            Block::Struct | Block::Methods if is_public => "  ",
            Block::Enum if !item.is_empty() => "  ",
            Block::Trait
                if ["fn ", "type ", "const ", "async "]
                    .iter()
                    .any(|it| item.starts_with(it)) =>
            {
                "  "
            }
            _ => return,
        };
        if let (Block::Methods, Some(head)) = (self.block(), self.pending_head.take()) {
            self.lines.push(head);
        }
        let item = item.split(" = ").next().unwrap_or_default();
        let item = match item.split_once('(') {
            Some((name, fields))
                if item.starts_with("pub struct")
                    && item.ends_with(')')
                    && !fields.contains("pub ") =>
            {
                name
            }
            _ => item,
        };
        self.lines.push(format!("{indent}{attributes}{item}"));
    }
}

/// Returns the attributes in front of an item that users notice, and the item. Both have single spaces.
fn strip_attributes(head: &str) -> (String, String) {
    let mut rest = head.trim_start();
    let mut kept = String::new();
    while let Some(attribute) = rest.strip_prefix("#[").or_else(|| rest.strip_prefix("#![")) {
        let end = attribute_end(attribute);
        let content = attribute[..end].trim();
        if ["derive", "non_exhaustive", "must_use"]
            .iter()
            .any(|it| content.starts_with(it))
        {
            kept += &format!("#[{}] ", one_line(content));
        }
        rest = attribute[end..].trim_start_matches(']').trim_start();
    }
    (kept, one_line(rest))
}

/// Returns the length of an attribute's content, up to its last bracket.
fn attribute_end(attribute: &str) -> usize {
    let mut depth = 1;
    for (at, c) in attribute.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    attribute.len()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
