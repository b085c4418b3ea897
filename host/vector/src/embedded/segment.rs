//! Parts on disk: made of the log, and made again of it when they are missing or damaged. A file has numbers one after
//! another and the checksum of all of them at its end.

use super::codes::{Codes, Numbers};
use super::graph::Graph;
use super::lexical::Lexical;
use super::part::Part;
use crate::Quantization;
use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};
use xxhash_rust::xxh3::Xxh3;

const MAGIC: u32 = 0x4756_5331;
const PREFIX: &str = "segment-";
const BUFFER_BYTES: usize = 1 << 20;
/// Files of one index of words.
const WORD_FILES_MAX: u32 = 64;

pub(crate) fn path_of(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{PREFIX}{number:08}"))
}

/// Removes the parts of a folder that are not among `kept`.
pub(crate) fn remove_others(folder: &Path, kept: &[u64]) -> io::Result<()> {
    for entry in folder.read_dir()? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u64>().ok());
        if number.is_some_and(|number| !kept.contains(&number)) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Writes a part, whole and durable when this returns.
pub(crate) fn write(folder: &Path, number: u64, part: &Part) -> io::Result<()> {
    let file = File::create(path_of(folder, number))?;
    let mut writer = Summing { inner: BufWriter::with_capacity(BUFFER_BYTES, file), hasher: Xxh3::new() };
    let (scales, numbers) = part.codes.raw();
    let is_full = matches!(numbers, Numbers::Full(_));
    let head = [MAGIC, u32::from(is_full), part.codes.dimensions(), u32::from(part.graph.is_some())];
    head.into_iter().try_for_each(|number| writer.number(number))?;
    writer.numbers(&part.slots)?;
    writer.numbers(&part.groups)?;
    writer.floats(scales)?;
    match numbers {
        Numbers::Int8(codes) => writer.codes(codes)?,
        Numbers::Full(numbers) => writer.floats(numbers)?,
    }
    if let Some(graph) = &part.graph {
        writer.graph(graph)?;
    }
    let files = part.lexical.files().map_err(io::Error::other)?;
    writer.number(u32::try_from(files.len()).unwrap_or(u32::MAX))?;
    for (name, bytes) in &files {
        writer.bytes(name.as_bytes())?;
        writer.bytes(bytes)?;
    }
    let sum = writer.hasher.digest();
    writer.inner.write_all(&sum.to_le_bytes())?;
    writer.inner.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    File::open(folder)?.sync_all()
}

/// Reads a part of an index of these dimensions, coded so.
///
/// # Errors
/// If it cannot be read, or is of another kind: then it is to be made again.
pub(crate) fn read(
    folder: &Path,
    number: u64,
    dimensions: u32,
    quantization: Quantization,
) -> io::Result<Part> {
    let file = File::open(path_of(folder, number))?;
    let left = file.metadata()?.len();
    let inner = BufReader::with_capacity(BUFFER_BYTES, file);
    let mut reader = Checking { inner, hasher: Xxh3::new(), left };
    let is_full = quantization == Quantization::None;
    let head = [reader.number()?, reader.number()?, reader.number()?];
    if head != [MAGIC, u32::from(is_full), dimensions] {
        return Err(io::Error::other("the part is of another kind"));
    }
    let has_graph = reader.number()? != 0;
    let (slots, groups, scales) = (reader.numbers()?, reader.numbers()?, reader.floats()?);
    let numbers = if is_full { Numbers::Full(reader.floats()?) } else { Numbers::Int8(reader.codes()?) };
    let graph = if has_graph { Some(reader.graph()?) } else { None };
    let files = reader.number()?.min(WORD_FILES_MAX);
    let files: io::Result<Vec<_>> = (0..files).map(|_| reader.file()).collect();
    let files = files?;
    let expected = reader.hasher.digest();
    let mut sum = [0; 8];
    reader.inner.read_exact(&mut sum)?;
    if u64::from_le_bytes(sum) != expected {
        return Err(io::Error::other("the checksum is wrong"));
    }
    let lexical = Lexical::from_files(&files).map_err(io::Error::other)?;
    let codes = Codes::from_raw(dimensions, scales, numbers);
    let codes = codes.filter(|codes| codes.len() == slots.len()).ok_or_else(unsound)?;
    let is_sound = groups.len() == slots.len()
        && lexical.len() == slots.len()
        && graph.as_ref().is_none_or(|graph| graph.is_sound(slots.len()));
    if !is_sound {
        return Err(unsound());
    }
    Ok(Part {
        slots: slots.into(),
        groups: groups.into(),
        lexical,
        codes,
        graph,
        segment: Some(number),
        is_merging: AtomicBool::new(false),
    })
}

fn unsound() -> io::Error {
    io::Error::other("the part does not fit together")
}

/// Writes and sums.
struct Summing<W> {
    inner: W,
    hasher: Xxh3,
}

impl<W: Write> Summing<W> {
    fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.inner.write_all(bytes)
    }

    fn number(&mut self, number: u32) -> io::Result<()> {
        self.raw(&number.to_le_bytes())
    }

    fn length(&mut self, length: usize) -> io::Result<()> {
        self.raw(&(length as u64).to_le_bytes())
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.length(bytes.len())?;
        self.raw(bytes)
    }

    fn numbers(&mut self, numbers: &[u32]) -> io::Result<()> {
        self.pieces(numbers, u32::to_le_bytes)
    }

    fn floats(&mut self, numbers: &[f32]) -> io::Result<()> {
        self.pieces(numbers, f32::to_le_bytes)
    }

    fn codes(&mut self, codes: &[i8]) -> io::Result<()> {
        self.pieces(codes, i8::to_le_bytes)
    }

    fn pieces<T: Copy, const N: usize>(
        &mut self,
        list: &[T],
        bytes: impl Fn(T) -> [u8; N],
    ) -> io::Result<()> {
        self.length(list.len() * N)?;
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        for piece in list.chunks(BUFFER_BYTES / N) {
            buffer.clear();
            buffer.extend(piece.iter().flat_map(|number| bytes(*number)));
            self.raw(&buffer)?;
        }
        Ok(())
    }

    fn graph(&mut self, graph: &Graph) -> io::Result<()> {
        self.number(graph.connectivity)?;
        self.number(graph.entry)?;
        self.number(u32::from(graph.top))?;
        self.bytes(&graph.levels)?;
        self.numbers(&graph.base)?;
        self.numbers(&graph.upper_at)?;
        self.numbers(&graph.upper)
    }
}

/// Reads and sums, and never more than the file has.
struct Checking<R> {
    inner: R,
    hasher: Xxh3,
    left: u64,
}

impl<R: Read> Checking<R> {
    fn number(&mut self) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.inner.read_exact(&mut bytes)?;
        self.hasher.update(&bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn length(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 8];
        self.inner.read_exact(&mut bytes)?;
        self.hasher.update(&bytes);
        let length = u64::from_le_bytes(bytes);
        if length > self.left {
            return Err(unsound());
        }
        self.left -= length;
        usize::try_from(length).map_err(io::Error::other)
    }

    fn bytes(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.length()?];
        self.inner.read_exact(&mut bytes)?;
        self.hasher.update(&bytes);
        Ok(bytes)
    }

    fn pieces<T, const N: usize>(&mut self, of: impl Fn([u8; N]) -> T) -> io::Result<Vec<T>> {
        let mut left = self.length()?;
        let mut list = Vec::with_capacity(left / N);
        let mut buffer = vec![0; BUFFER_BYTES / N * N];
        while left > 0 {
            let piece = &mut buffer[..left.min(BUFFER_BYTES / N * N)];
            self.inner.read_exact(piece)?;
            self.hasher.update(piece);
            left -= piece.len();
            let (numbers, _rest) = piece.as_chunks::<N>();
            list.extend(numbers.iter().map(|bytes| of(*bytes)));
        }
        Ok(list)
    }

    fn numbers(&mut self) -> io::Result<Vec<u32>> {
        self.pieces(u32::from_le_bytes)
    }

    fn floats(&mut self) -> io::Result<Vec<f32>> {
        self.pieces(f32::from_le_bytes)
    }

    fn codes(&mut self) -> io::Result<Vec<i8>> {
        self.pieces(i8::from_le_bytes)
    }

    fn file(&mut self) -> io::Result<(String, Vec<u8>)> {
        let name = String::from_utf8(self.bytes()?).map_err(io::Error::other)?;
        Ok((name, self.bytes()?))
    }

    fn graph(&mut self) -> io::Result<Graph> {
        let (connectivity, entry, top) = (self.number()?, self.number()?, self.number()?);
        Ok(Graph {
            connectivity,
            entry,
            top: u8::try_from(top).map_err(io::Error::other)?,
            levels: self.bytes()?,
            base: self.numbers()?,
            upper_at: self.numbers()?,
            upper: self.numbers()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::part::{Content, units};
    use crate::{Chunk, EmbeddedConfig};

    fn part(config: &EmbeddedConfig) -> Part {
        let chunks: Vec<Chunk> = (0..40_u8)
            .map(|ordinal| Chunk {
                ordinal: ordinal.into(),
                heading: "heading".into(),
                text: format!("word{ordinal}"),
                note: String::new(),
                vector: Some(vec![f32::from(ordinal), 1.0, 2.0]),
            })
            .collect();
        let content = Content::build(&chunks, &units(&chunks), 3, config).unwrap();
        let mut part = Part::new(content, (0..40).collect(), vec![7; 40]);
        part.grow_graph(config);
        part
    }

    #[test]
    fn a_part_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        for quantization in [Quantization::Int8, Quantization::None] {
            for exact_chunks_max in [0, 1_000] {
                let config = EmbeddedConfig { quantization, exact_chunks_max, ..EmbeddedConfig::default() };
                let part = part(&config);
                write(folder.path(), 3, &part).unwrap();
                let read = super::read(folder.path(), 3, 3, quantization).unwrap();
                assert_eq!((&read.slots, &read.groups, read.segment), (&part.slots, &part.groups, Some(3)));
                assert_eq!(read.codes, part.codes);
                assert_eq!(read.graph, part.graph);
                assert_eq!(part.graph.is_some(), exact_chunks_max == 0);
                assert_eq!(read.lexical.len(), 40);
            }
        }
        assert!(super::read(folder.path(), 3, 3, Quantization::Int8).is_err(), "of another kind");
        assert!(super::read(folder.path(), 3, 2, Quantization::None).is_err(), "of other dimensions");
    }

    #[test]
    fn a_changed_or_missing_byte_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 1, &part(&EmbeddedConfig { exact_chunks_max: 0, ..EmbeddedConfig::default() }))
            .unwrap();
        let path = path_of(folder.path(), 1);
        let whole = fs::read(&path).unwrap();
        let read = || super::read(folder.path(), 1, 3, Quantization::Int8).map(|_| ());
        for at in (0..whole.len()).step_by(13) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            fs::write(&path, &bytes).unwrap();
            assert!(read().is_err(), "{at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(read().is_err(), "cut at {at}");
        }
        fs::write(&path, &whole).unwrap();
        assert!(read().is_ok());
        remove_others(folder.path(), &[2]).unwrap();
        assert!(read().is_err(), "it was removed");
    }
}
