//! A PDF as objects by their numbers: cross-reference tables and streams (ISO 32000, 7.5), object streams, and what can be
//! found where those are wrong.

use super::filter::{self, FILTERS_MAX};
use super::lexer::Lexer;
use super::object::{Dictionary, Object, Stream};
use super::recover;
use crate::error::ExtractError;
use crate::inflate::Budget;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// How many objects a file may have.
pub(super) const OBJECTS_MAX: usize = 500_000;
/// How many tables may refer to each other.
const SECTIONS_MAX: usize = 512;
/// How many objects are kept once read, and how many bytes of object streams.
const CACHED_OBJECTS_MAX: usize = 20_000;
const CACHED_STREAM_BYTES_MAX: usize = 16 << 20;
/// How many bytes may be parsed as objects besides sixteen times the file.
const PARSED_BYTES_MIN: usize = 8 << 20;
/// How many objects may be under way at once: an object in a stream whose length is another object, and so on.
const UNDER_WAY_MAX: usize = 16;

/// Where an object is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Offset(usize),
    InStream { stream: u32, index: usize },
}

/// A file whose objects can be asked for.
#[derive(Debug)]
pub(super) struct File<'a> {
    bytes: &'a [u8],
    places: HashMap<u32, Place>,
    trailer: Rc<Dictionary>,
    is_recovered: bool,
    budget: Budget,
    objects: HashMap<u32, Object>,
    streams: HashMap<u32, Rc<ObjectStream>>,
    stream_bytes: usize,
    under_way: usize,
    /// How many bytes may still be searched for the ends of streams that don't tell their lengths.
    search_left: usize,
    /// How many bytes may still be parsed as objects: tables can make the same bytes begin any number of objects.
    parse_left: usize,
}

#[derive(Debug)]
struct ObjectStream {
    data: Vec<u8>,
    /// Numbers and where they begin.
    offsets: Vec<(u32, usize)>,
}

impl<'a> File<'a> {
    /// Finds the objects of a file.
    ///
    /// # Errors
    /// [`ExtractError`].
    pub(super) fn open(bytes: &'a [u8], budget: Budget) -> Result<File<'a>, ExtractError> {
        // Offsets count from the header, whatever stands before it.
        let start = bytes.windows(5).position(|window| window == b"%PDF-").unwrap_or(0);
        let bytes = bytes.get(start..).unwrap_or_default();
        let mut file = File {
            bytes,
            places: HashMap::new(),
            trailer: Rc::default(),
            is_recovered: false,
            budget,
            objects: HashMap::new(),
            streams: HashMap::new(),
            stream_bytes: 0,
            under_way: 0,
            search_left: bytes.len().saturating_mul(4).saturating_add(1 << 20),
            parse_left: bytes.len().saturating_mul(16).saturating_add(PARSED_BYTES_MIN),
        };
        let is_read = file.read_tables()?;
        file.check_encryption()?;
        if !is_read || file.pages_root()?.is_none() {
            file.recover()?;
        }
        Ok(file)
    }

    /// The root of the page tree.
    ///
    /// # Errors
    /// [`ExtractError::TooLarge`].
    pub(super) fn pages_root(&mut self) -> Result<Option<Object>, ExtractError> {
        let root = self.trailer.get("Root");
        let Some(catalog) = self.dictionary(&root)? else { return Ok(None) };
        let pages = catalog.get("Pages");
        Ok(self.dictionary(&pages)?.map(|_| pages))
    }

    /// What the file says of itself.
    ///
    /// # Errors
    /// [`ExtractError::TooLarge`].
    pub(super) fn information(&mut self) -> Result<Option<Rc<Dictionary>>, ExtractError> {
        let information = self.trailer.get("Info");
        self.dictionary(&information)
    }

    fn check_encryption(&self) -> Result<(), ExtractError> {
        if self.trailer.has("Encrypt") { Err(ExtractError::Encrypted) } else { Ok(()) }
    }

    /// Finds the objects by looking for them, once.
    ///
    /// # Errors
    /// [`ExtractError`].
    pub(super) fn recover(&mut self) -> Result<(), ExtractError> {
        if self.is_recovered {
            return Ok(());
        }
        self.is_recovered = true;
        let found = recover::find(self.bytes)?;
        self.places = found.places;
        self.objects.clear();
        self.streams.clear();
        if let Some(trailer) = found.trailer {
            self.trailer = trailer;
        }
        self.check_encryption()?;
        for number in found.object_streams {
            let Some(stream) = self.object_stream(number)? else { continue };
            for (index, (object, _)) in stream.offsets.iter().enumerate() {
                self.place(*object as usize, Place::InStream { stream: number, index })?;
            }
        }
        if !self.trailer.has("Root")
            && let Some(catalog) = found.catalog
        {
            let root = HashMap::from([(Rc::from("Root"), Object::Reference(catalog))]);
            self.trailer = Rc::new(Dictionary(root));
        }
        Ok(())
    }

    /// Notes where an object is, unless that is known.
    fn place(&mut self, number: usize, place: Place) -> Result<(), ExtractError> {
        if self.places.len() >= OBJECTS_MAX {
            return Err(ExtractError::more_than(OBJECTS_MAX, "objects"));
        }
        if let Ok(number) = u32::try_from(number) {
            self.places.entry(number).or_insert(place);
        }
        Ok(())
    }

    /// Reads the tables from the newest to the oldest; what a newer one says of an object counts. `false` where they are wrong.
    fn read_tables(&mut self) -> Result<bool, ExtractError> {
        let tail = self.bytes.len().saturating_sub(2_048);
        let end = self.bytes.get(tail..).unwrap_or_default();
        let Some(at) = end.windows(9).rposition(|window| window == b"startxref") else { return Ok(false) };
        let mut next = Lexer::new(self.bytes, tail + at + 9).integer();
        let mut seen = HashSet::new();
        while let Some(at) = next {
            if !seen.insert(at) || seen.len() > SECTIONS_MAX {
                break;
            }
            let Some(trailer) = self.read_table(at)? else { return Ok(false) };
            if seen.len() == 1 {
                self.trailer = Rc::clone(&trailer);
            }
            if let Some(hybrid) = trailer.get("XRefStm").count()
                && seen.insert(hybrid)
            {
                self.read_table(hybrid)?;
            }
            next = trailer.get("Prev").count();
        }
        Ok(self.trailer.has("Root"))
    }

    fn read_table(&mut self, at: usize) -> Result<Option<Rc<Dictionary>>, ExtractError> {
        let mut lexer = Lexer::new(self.bytes, at);
        if !lexer.skip_word(b"xref") {
            return self.read_table_stream(at);
        }
        while let Some(first) = lexer.integer() {
            let Some(count) = lexer.integer() else { return Ok(None) };
            for number in first..first.saturating_add(count) {
                let (Some(offset), Some(_)) = (lexer.integer(), lexer.integer()) else { return Ok(None) };
                if lexer.skip_word(b"n") {
                    self.place(number, Place::Offset(offset))?;
                } else if !lexer.skip_word(b"f") {
                    return Ok(None);
                }
            }
        }
        if !lexer.skip_word(b"trailer") {
            return Ok(None);
        }
        Ok(lexer.object().and_then(|trailer| trailer.dictionary()))
    }

    fn read_table_stream(&mut self, at: usize) -> Result<Option<Rc<Dictionary>>, ExtractError> {
        let Some((_, object)) = self.parse_at(at)? else { return Ok(None) };
        let Some(stream) = object.stream() else { return Ok(None) };
        let dictionary = Rc::clone(&stream.dictionary);
        let numbers = |name: &str| -> Vec<usize> {
            let array = dictionary.get(name).array().unwrap_or_default();
            array.iter().filter_map(Object::count).collect()
        };
        let widths = numbers("W");
        let [kind_width, second_width, third_width] = widths[..] else { return Ok(None) };
        if widths.iter().any(|width| *width > 8) || second_width == 0 {
            return Ok(None);
        }
        let mut sections = numbers("Index");
        if sections.is_empty() {
            sections = vec![0, dictionary.get("Size").count().unwrap_or(0)];
        }
        let data = self.data(&stream)?;
        let mut rows = data.chunks_exact(kind_width + second_width + third_width);
        for section in sections.chunks_exact(2) {
            let numbers = section[0]..section[0].saturating_add(section[1]);
            for (number, row) in numbers.zip(&mut rows) {
                let (kind, rest) = row.split_at(kind_width);
                let (second, third) = rest.split_at(second_width);
                let kind = if kind_width == 0 { 1 } else { big_endian(kind) };
                let place = match kind {
                    1 => Place::Offset(big_endian(second)),
                    2 => Place::InStream { stream: big_endian(second) as u32, index: big_endian(third) },
                    _ => continue,
                };
                self.place(number, place)?;
            }
        }
        Ok(Some(dictionary))
    }

    /// The object that this one is or refers to.
    ///
    /// # Errors
    /// [`ExtractError::TooLarge`].
    pub(super) fn resolve(&mut self, object: &Object) -> Result<Object, ExtractError> {
        let mut object = object.clone();
        for _ in 0..UNDER_WAY_MAX {
            let Object::Reference(number) = object else { return Ok(object) };
            object = self.get(number)?;
        }
        Ok(Object::Null)
    }

    /// The dictionary that this object is or refers to.
    ///
    /// # Errors
    /// [`ExtractError::TooLarge`].
    pub(super) fn dictionary(&mut self, object: &Object) -> Result<Option<Rc<Dictionary>>, ExtractError> {
        Ok(self.resolve(object)?.dictionary())
    }

    /// A member of a dictionary, resolved.
    ///
    /// # Errors
    /// [`ExtractError::TooLarge`].
    pub(super) fn member(&mut self, dictionary: &Dictionary, name: &str) -> Result<Object, ExtractError> {
        self.resolve(&dictionary.get(name))
    }

    fn get(&mut self, number: u32) -> Result<Object, ExtractError> {
        if let Some(object) = self.objects.get(&number) {
            return Ok(object.clone());
        }
        if self.under_way >= UNDER_WAY_MAX {
            return Ok(Object::Null);
        }
        self.under_way += 1;
        let read = self.read(number);
        self.under_way -= 1;
        let object = read?;
        if self.objects.len() >= CACHED_OBJECTS_MAX {
            self.objects.clear();
        }
        self.objects.insert(number, object.clone());
        Ok(object)
    }

    fn read(&mut self, number: u32) -> Result<Object, ExtractError> {
        match self.places.get(&number).copied() {
            None => Ok(Object::Null),
            Some(Place::InStream { stream, index }) => {
                let Some(stream) = self.object_stream(stream)? else { return Ok(Object::Null) };
                let at = |index: usize| stream.offsets.get(index).filter(|(found, _)| *found == number);
                let by_number = || stream.offsets.iter().find(|(found, _)| *found == number);
                let Some((_, offset)) = at(index).or_else(by_number) else { return Ok(Object::Null) };
                let mut lexer = Lexer::new(&stream.data, *offset);
                let object = lexer.object().unwrap_or_default();
                self.spend_parsed(lexer.at().saturating_sub(*offset))?;
                Ok(object)
            }
            Some(Place::Offset(offset)) => {
                if let Some((found, object)) = self.parse_at(offset)?
                    && found == number
                {
                    return Ok(object);
                }
                if self.is_recovered {
                    return Ok(Object::Null);
                }
                self.recover()?;
                self.read(number)
            }
        }
    }

    fn spend_parsed(&mut self, bytes: usize) -> Result<(), ExtractError> {
        let left = self.parse_left.checked_sub(bytes);
        self.parse_left = left.ok_or_else(|| ExtractError::broken("its objects overlap"))?;
        Ok(())
    }

    /// The object that begins at an offset, and its number.
    fn parse_at(&mut self, offset: usize) -> Result<Option<(u32, Object)>, ExtractError> {
        let mut lexer = Lexer::new(self.bytes, offset);
        let (Some(number), Some(_)) = (lexer.integer(), lexer.integer()) else { return Ok(None) };
        if !lexer.skip_word(b"obj") {
            return Ok(None);
        }
        let Ok(number) = u32::try_from(number) else { return Ok(None) };
        let object = lexer.object().unwrap_or_default();
        self.spend_parsed(lexer.at().saturating_sub(offset))?;
        if let Object::Dictionary(dictionary) = &object
            && lexer.skip_word(b"stream")
        {
            let mut start = lexer.at();
            start += usize::from(self.bytes.get(start) == Some(&b'\r'));
            start += usize::from(self.bytes.get(start) == Some(&b'\n'));
            let dictionary = Rc::clone(dictionary);
            return Ok(Some((number, Object::Stream(Rc::new(Stream { dictionary, start })))));
        }
        Ok(Some((number, object)))
    }

    /// The data of a stream with its filters undone; none where it is an image.
    ///
    /// # Errors
    /// [`ExtractError::TooLarge`].
    pub(super) fn data(&mut self, stream: &Stream) -> Result<Vec<u8>, ExtractError> {
        let raw = self.raw(stream)?;
        let dictionary = &stream.dictionary;
        let either = |long: &str, short: &str| {
            if dictionary.has(long) { dictionary.get(long) } else { dictionary.get(short) }
        };
        let filters = self.resolved_list(&either("Filter", "F"))?;
        let parameters = self.resolved_list(&either("DecodeParms", "DP"))?;
        if filters.is_empty() {
            self.budget.take(raw.len())?;
            return Ok(raw.to_vec());
        }
        let none = Rc::new(Dictionary::default());
        let mut data: Option<Vec<u8>> = None;
        for (place, filter) in filters.iter().take(FILTERS_MAX).enumerate() {
            let Some(filter) = filter.name() else { return Ok(Vec::new()) };
            let parameters =
                parameters.get(place).and_then(Object::dictionary).unwrap_or_else(|| Rc::clone(&none));
            let undone = filter::undo(filter, &parameters, data.as_deref().unwrap_or(raw), &mut self.budget)?;
            let Some(undone) = undone else { return Ok(Vec::new()) };
            data = Some(undone);
        }
        Ok(data.unwrap_or_default())
    }

    /// An object as a list: an array's, or of itself alone.
    fn resolved_list(&mut self, object: &Object) -> Result<Vec<Object>, ExtractError> {
        match self.resolve(object)? {
            Object::Null => Ok(Vec::new()),
            Object::Array(array) => {
                array.iter().take(FILTERS_MAX).map(|object| self.resolve(object)).collect()
            }
            object => Ok(vec![object]),
        }
    }

    /// The data of a stream as it stands in the file. A length that is told counts if the stream ends there.
    fn raw(&mut self, stream: &Stream) -> Result<&'a [u8], ExtractError> {
        let bytes = self.bytes;
        let rest = bytes.get(stream.start..).unwrap_or_default();
        let told = self.resolve(&stream.dictionary.get("Length"))?.count();
        if let Some(length) = told
            && let Some(data) = rest.get(..length)
            && Lexer::new(bytes, stream.start.saturating_add(length)).skip_word(b"endstream")
        {
            return Ok(data);
        }
        let searched = rest.get(..self.search_left).unwrap_or(rest);
        let found = searched.windows(9).position(|window| window == b"endstream");
        let length = found.unwrap_or(searched.len());
        self.search_left = self.search_left.saturating_sub(length);
        Ok(rest.get(..length).unwrap_or_default())
    }

    fn object_stream(&mut self, number: u32) -> Result<Option<Rc<ObjectStream>>, ExtractError> {
        if let Some(stream) = self.streams.get(&number) {
            return Ok(Some(Rc::clone(stream)));
        }
        // An object stream is never inside of another.
        let Some(Place::Offset(offset)) = self.places.get(&number).copied() else { return Ok(None) };
        let Some((_, object)) = self.parse_at(offset)? else { return Ok(None) };
        let Some(stream) = object.stream() else { return Ok(None) };
        let count = self.member(&stream.dictionary, "N")?.count().unwrap_or(0);
        let first = self.member(&stream.dictionary, "First")?.count().unwrap_or(0);
        let data = self.data(&stream)?;
        let mut offsets = Vec::new();
        let mut lexer = Lexer::new(&data, 0);
        for _ in 0..count.min(OBJECTS_MAX) {
            let (Some(number), Some(offset)) = (lexer.integer(), lexer.integer()) else { break };
            if let Ok(number) = u32::try_from(number) {
                offsets.push((number, first.saturating_add(offset)));
            }
        }
        self.stream_bytes += data.len();
        if self.stream_bytes > CACHED_STREAM_BYTES_MAX {
            self.streams.clear();
            self.stream_bytes = data.len();
        }
        let stream = Rc::new(ObjectStream { data, offsets });
        self.streams.insert(number, Rc::clone(&stream));
        Ok(Some(stream))
    }
}

fn big_endian(bytes: &[u8]) -> usize {
    bytes.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte)).try_into().unwrap_or(usize::MAX)
}
