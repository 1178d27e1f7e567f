//! What the kernel tells beside the boot information: chunks, one behind the other (seL4 manual, "System Bootstrapping").

/// Bytes of a chunk's header: number and length, in words. The length counts the header.
const HEADER: usize = 16;

/// What is in the chunk with this number.
#[must_use]
pub fn chunk(mut extra: &[u8], number: u64) -> Option<&[u8]> {
    loop {
        let (header, _) = extra.split_at_checked(HEADER)?;
        let [id, length] = [header.first_chunk(), header.last_chunk()].map(|word| word.map_or(0, |word| u64::from_le_bytes(*word)));
        let length = usize::try_from(length).ok().filter(|length| *length >= HEADER)?;
        let (chunk, rest) = extra.split_at_checked(length)?;
        if id == number {
            return chunk.get(HEADER..);
        }
        extra = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(all: &[(u64, u64, &[u8])]) -> Vec<u8> {
        all.iter().flat_map(|(number, length, bytes)| [&number.to_le_bytes(), &length.to_le_bytes(), *bytes].concat()).collect()
    }

    #[test]
    fn a_chunk_is_found_behind_others() {
        let extra = chunks(&[(0, 20, b"pads"), (6, 21, b"hello")]);
        assert_eq!((chunk(&extra, 6), chunk(&extra, 0), chunk(&extra, 7)), (Some(&b"hello"[..]), Some(&b"pads"[..]), None));
    }

    #[test]
    fn lengths_that_lie_lead_nowhere() {
        for length in [0, 15, 22, u64::MAX] {
            assert_eq!(chunk(&chunks(&[(1, length, b"hello"), (6, 16, b"")]), 6), None, "{length}");
        }
        assert_eq!(chunk(&[], 6), None);
    }
}
