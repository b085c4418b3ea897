//! Filters of streams (ISO 32000, 7.4). Those of images are not undone: there is no text in them.

use super::object::{Dictionary, Object};
use crate::error::ExtractError;
use crate::inflate::Budget;

/// How many filters a stream may have.
pub(super) const FILTERS_MAX: usize = 8;

/// What is left when a filter is undone; `None` where it is one of images, or not known.
///
/// # Errors
/// [`ExtractError::TooLarge`].
pub(super) fn undo(
    filter: &str,
    parameters: &Dictionary,
    data: &[u8],
    budget: &mut Budget,
) -> Result<Option<Vec<u8>>, ExtractError> {
    Ok(Some(match filter {
        "FlateDecode" | "Fl" => predicted(budget.inflate(data)?, parameters),
        "LZWDecode" | "LZW" => {
            let is_early = parameters.get("EarlyChange").number() != Some(0.0);
            predicted(lzw(data, is_early, budget)?, parameters)
        }
        "ASCIIHexDecode" | "AHx" => hexadecimal(data, budget)?,
        "ASCII85Decode" | "A85" => base85(data, budget)?,
        "RunLengthDecode" | "RL" => run_length(data, budget)?,
        _ => return Ok(None),
    }))
}

/// Undoes the predictors of PNG and TIFF, as far as whole rows go.
fn predicted(data: Vec<u8>, parameters: &Dictionary) -> Vec<u8> {
    let parameter = |name: &str, default: usize| match parameters.get(name) {
        Object::Number(number) if (1.0..=65_536.0).contains(&number) => number as usize,
        _ => default,
    };
    let predictor = parameter("Predictor", 1);
    let (colors, bits, columns) =
        (parameter("Colors", 1).min(32), parameter("BitsPerComponent", 8).min(16), parameter("Columns", 1));
    let row = (colors * bits * columns).div_ceil(8).max(1);
    let pixel = (colors * bits).div_ceil(8).max(1);
    match predictor {
        2 if bits == 8 => differences(data, row, pixel),
        10.. => png(&data, row, pixel),
        _ => data,
    }
}

fn differences(mut data: Vec<u8>, row: usize, pixel: usize) -> Vec<u8> {
    for row in data.chunks_mut(row) {
        for at in pixel..row.len() {
            row[at] = row[at].wrapping_add(row[at - pixel]);
        }
    }
    data
}

fn png(data: &[u8], row: usize, pixel: usize) -> Vec<u8> {
    let mut output: Vec<u8> = Vec::with_capacity(data.len());
    let mut above = vec![0u8; row];
    for line in data.chunks(row + 1) {
        let Some((filter, bytes)) = line.split_first() else { break };
        let mut current = vec![0u8; row];
        for (at, byte) in bytes.iter().enumerate() {
            let left = if at >= pixel { current[at - pixel] } else { 0 };
            let corner = if at >= pixel { above[at - pixel] } else { 0 };
            let predicted = match filter {
                1 => left,
                2 => above[at],
                3 => ((u16::from(left) + u16::from(above[at])) / 2) as u8,
                4 => paeth(left, above[at], corner),
                _ => 0,
            };
            current[at] = byte.wrapping_add(predicted);
        }
        output.extend_from_slice(&current[..bytes.len()]);
        above = current;
    }
    output
}

fn paeth(left: u8, above: u8, corner: u8) -> u8 {
    let estimate = i16::from(left) + i16::from(above) - i16::from(corner);
    let distance = |value: u8| (estimate - i16::from(value)).abs();
    if distance(left) <= distance(above) && distance(left) <= distance(corner) {
        left
    } else if distance(above) <= distance(corner) {
        above
    } else {
        corner
    }
}

/// LZW as TIFF has it: codes of 9 to 12 bits, the highest bit first.
fn lzw(data: &[u8], is_early: bool, budget: &mut Budget) -> Result<Vec<u8>, ExtractError> {
    const CLEAR: usize = 256;
    const END: usize = 257;
    let mut output: Vec<u8> = Vec::new();
    // Each entry is a part of the output: where it begins and how long it is.
    let mut table: Vec<(usize, usize)> = Vec::new();
    let (mut bits, mut held, mut width) = (0u32, 0u32, 9u32);
    let mut last: Option<(usize, usize)> = None;
    for byte in data {
        bits = bits << 8 | u32::from(*byte);
        held += 8;
        if held < width {
            continue;
        }
        held -= width;
        let code = (bits >> held) as usize & ((1 << width) - 1);
        if code == CLEAR {
            (table, width, last) = (Vec::new(), 9, None);
            continue;
        }
        if code == END {
            break;
        }
        let start = output.len();
        if code < CLEAR {
            output.push(code as u8);
        } else if let Some((from, length)) = table.get(code - 258).copied() {
            output.extend_from_within(from..from + length);
        } else {
            // The entry that is being made: the last one and its own first byte. Anything else is damage.
            let Some((from, length)) = last.filter(|_| code - 258 == table.len()) else { break };
            output.extend_from_within(from..from + length);
            output.extend_from_within(from..=from);
        }
        budget.take(output.len() - start)?;
        if let Some((from, length)) = last
            && table.len() < 4_096 - 258
        {
            table.push((from, length + 1));
        }
        last = Some((start, output.len() - start));
        let next = 258 + table.len() + usize::from(is_early);
        width = match next {
            2_048.. => 12,
            1_024.. => 11,
            512.. => 10,
            _ => 9,
        };
    }
    Ok(output)
}

fn hexadecimal(data: &[u8], budget: &mut Budget) -> Result<Vec<u8>, ExtractError> {
    budget.take(data.len() / 2 + 1)?;
    let digits: Vec<u32> = data
        .iter()
        .take_while(|byte| **byte != b'>')
        .filter_map(|byte| char::from(*byte).to_digit(16))
        .collect();
    Ok(digits.chunks(2).map(|pair| (pair[0] << 4 | pair.get(1).copied().unwrap_or(0)) as u8).collect())
}

fn base85(data: &[u8], budget: &mut Budget) -> Result<Vec<u8>, ExtractError> {
    let mut output = Vec::new();
    let mut group: Vec<u32> = Vec::with_capacity(5);
    for byte in data {
        match byte {
            b'~' => break,
            b'z' if group.is_empty() => output.extend([0; 4]),
            b'!'..=b'u' => group.push(u32::from(byte - b'!')),
            _ => {}
        }
        if group.len() == 5 {
            output.extend(quad(&group));
            group.clear();
        }
        if output.len() > budget.left() {
            return Err(budget.spent());
        }
    }
    if group.len() > 1 {
        let given = group.len();
        group.resize(5, 84);
        output.extend_from_slice(&quad(&group)[..given - 1]);
    }
    budget.take(output.len())?;
    Ok(output)
}

fn quad(group: &[u32]) -> [u8; 4] {
    group.iter().fold(0u32, |number, digit| number.wrapping_mul(85).wrapping_add(*digit)).to_be_bytes()
}

fn run_length(data: &[u8], budget: &mut Budget) -> Result<Vec<u8>, ExtractError> {
    let mut output = Vec::new();
    let mut rest = data;
    while let Some((length, after)) = rest.split_first() {
        let length = usize::from(*length);
        let (taken, run): (usize, Vec<u8>) = match length {
            128 => break,
            0..128 => {
                let bytes = after.get(..=length).unwrap_or(after);
                (bytes.len(), bytes.to_vec())
            }
            _ => (1, vec![after.first().copied().unwrap_or(0); 257 - length]),
        };
        budget.take(run.len())?;
        output.extend(run);
        rest = after.get(taken..).unwrap_or_default();
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pdf::lexer::Lexer;

    fn undone(filter: &str, parameters: &[u8], data: &[u8]) -> Vec<u8> {
        let parameters = Lexer::new(parameters, 0).object().unwrap().dictionary().unwrap();
        undo(filter, &parameters, data, &mut Budget::new(10_000)).unwrap().unwrap()
    }

    #[test]
    fn each_filter_is_undone() {
        assert_eq!(undone("ASCIIHexDecode", b"<<>>", b"48 65 6C6c 6F>"), b"Hello");
        assert_eq!(undone("ASCII85Decode", b"<<>>", b"87cURD]i,\"Ebo80~>"), b"Hello World!");
        assert_eq!(undone("RunLengthDecode", b"<<>>", b"\x02abc\xfed\x80"), b"abcddd");
        // The example of the standard, 7.4.4.2.
        let packed = [0x80, 0x0b, 0x60, 0x50, 0x22, 0x0c, 0x0c, 0x85, 0x01];
        assert_eq!(undone("LZWDecode", b"<<>>", &packed), [45, 45, 45, 45, 45, 65, 45, 45, 45, 66]);
        let rows = miniz_oxide::deflate::compress_to_vec_zlib(&[2, 1, 2, 3, 2, 1, 1, 1, 1, 5, 1, 1], 6);
        let parameters = b"<</Predictor 15/Columns 3>>";
        assert_eq!(undone("FlateDecode", parameters, &rows), [1, 2, 3, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn a_filter_stops_at_its_budget() {
        let none = Dictionary::default();
        for (filter, data) in [
            ("RunLengthDecode", b"\x81a".repeat(100)),
            ("ASCII85Decode", b"z".repeat(1_000)),
            ("LZWDecode", vec![0x80, 0x0b, 0x60, 0x50, 0x22, 0x0c, 0x0c, 0x85, 0x01]),
        ] {
            let error = undo(filter, &none, &data, &mut Budget::new(5)).unwrap_err();
            assert_eq!(error.code(), "file_too_large", "{filter}");
        }
        assert!(undo("DCTDecode", &none, b"x", &mut Budget::new(5)).unwrap().is_none());
    }
}
