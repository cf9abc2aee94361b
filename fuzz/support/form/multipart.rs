//! `multipart/form-data` as browsers send it.

use super::{Fields, Refusal};

/// The field, the name, the type and the size of a file.
pub type File = (String, String, Option<String>, u64);

/// A part of a form.
#[derive(Default)]
pub struct Part {
    pub name: String,
    pub file_name: Option<String>,
    pub content_type: Option<String>,
    pub content: Vec<u8>,
}

/// The only content type that the model knows.
const CONTENT_TYPE: &str = "text/plain";

/// Writes a form as browsers do.
pub fn encode(parts: &[Part], boundary: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for part in parts {
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"",
            part.name
        );
        body.extend_from_slice(head.as_bytes());
        if let Some(file_name) = &part.file_name {
            body.extend_from_slice(format!("; filename=\"{file_name}\"").as_bytes());
        }
        if let Some(content_type) = &part.content_type {
            body.extend_from_slice(format!("\r\nContent-Type: {content_type}").as_bytes());
        }
        body.extend_from_slice(b"\r\n\r\n");
        body.extend_from_slice(&part.content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    body
}

/// Parses a form that `encode` may have written. Returns `None` for other bodies, which may be forms too.
pub fn parse(body: &[u8], boundary: &str) -> Option<Vec<Part>> {
    let delimiter = format!("\r\n--{boundary}");
    let mut rest = body.strip_prefix(&delimiter.as_bytes()[2..])?;
    let mut parts = Vec::new();
    while !rest.starts_with(b"--") {
        let (head, after) = split(rest.strip_prefix(b"\r\n")?, b"\r\n\r\n")?;
        let (content, after) = split(after, delimiter.as_bytes())?;
        parts.push(parse_part(std::str::from_utf8(head).ok()?, content)?);
        rest = after;
    }
    Some(parts)
}

fn split<'a>(bytes: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let start = bytes.windows(at.len()).position(|window| window == at)?;
    Some((&bytes[..start], &bytes[start + at.len()..]))
}

fn parse_part(head: &str, content: &[u8]) -> Option<Part> {
    let (disposition, content_type) = match head.split_once("\r\n") {
        Some((line, other)) => (line, Some(other.strip_prefix("Content-Type: ")?)),
        None => (head, None),
    };
    let names = disposition.strip_prefix("Content-Disposition: form-data; name=\"")?;
    let names = names.strip_suffix('"')?;
    let (name, file_name) = match names.split_once("\"; filename=\"") {
        Some((name, file_name)) => (name, Some(file_name)),
        None => (names, None),
    };
    let is_known = content_type.is_none_or(|text| text == CONTENT_TYPE);
    let is_plain = is_plain(name) && file_name.is_none_or(is_plain);
    (is_known && is_plain).then(|| Part {
        name: name.to_owned(),
        file_name: file_name.map(str::to_owned),
        content_type: content_type.map(str::to_owned),
        content: content.to_vec(),
    })
}

/// Returns `true` if every parser reads a quoted text as it is. The parser of the library searches `name` in the
/// whole header.
fn is_plain(text: &str) -> bool {
    !text.contains("name") && !text.contains(['"', '\\']) && !text.contains(char::is_control)
}

/// Makes the parts of a form out of lines: name, content, name of the file, and any fourth word for a type.
pub fn plan(lines: &[u8]) -> Vec<Part> {
    let lines = lines.split(|byte| *byte == b'\n').take(40);
    lines.map(planned_part).collect()
}

fn planned_part(line: &[u8]) -> Part {
    let mut words = line.split(|byte| *byte == b'\t');
    let text = |word: &[u8]| {
        let text = String::from_utf8_lossy(word).replace("name", "nome");
        text.replace(|c: char| !is_plain(c.encode_utf8(&mut [0; 4])), "_")
    };
    let name = text(words.next().unwrap_or_default());
    // The content must not contain a boundary. Both begin with `--`.
    let content = words.next().unwrap_or_default().to_vec();
    let mut content = content;
    for at in 1..content.len() {
        if content[at - 1..=at] == *b"--" {
            content[at] = b'_';
        }
    }
    Part {
        name,
        content,
        file_name: words.next().map(text),
        content_type: words.next().map(|_| CONTENT_TYPE.to_owned()),
    }
}

/// Reads the parts into `fields`, and returns the files.
pub fn read(parts: Vec<Part>, fields: &mut Fields<'_>) -> Result<Vec<File>, Refusal> {
    let limits = fields.limits;
    let (mut files, mut bytes, mut file_bytes) = (Vec::new(), 0, 0);
    for part in parts {
        let len = part.content.len() as u64;
        let Some(file_name) = part.file_name else {
            bytes += part.name.len() as u64 + len;
            if bytes > limits.bytes {
                return Err(Refusal::TooLarge("bytes"));
            }
            let text = String::from_utf8(part.content).map_err(|_| Refusal::Malformed)?;
            fields.add(&part.name, text)?;
            continue;
        };
        fields.count(1)?;
        if files.len() >= limits.files {
            return Err(Refusal::TooLarge("files"));
        }
        file_bytes += len;
        if file_bytes > limits.file_bytes {
            return Err(Refusal::TooLarge("bytes of files"));
        }
        // A field without a chosen file.
        if !file_name.is_empty() || len > 0 {
            files.push((part.name, file_name, part.content_type, len));
        }
    }
    Ok(files)
}
