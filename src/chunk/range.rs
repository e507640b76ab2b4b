//! A table in ranges: more of them than workers, planned from sizes alone. A range is read in chunks, and remembers where the next begins.

use serde::{Deserialize, Serialize};

/// A part of a table that is read from its beginning to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Range {
    /// Blocks of one file: of the table, or of one partition. They mean the same rows only as long as the file is the same: a rewrite moves
    /// rows, and the stream says nothing of it.
    Blocks {
        /// `pg_class.oid` of the table or partition.
        relation: u32,
        /// `pg_relation_filenode`.
        file: u32,
        next: u32,
        /// `None`: to the end, wherever that is when it is reached.
        end: Option<u32>,
    },
}

/// From this `server_version_num` on a range of blocks is read without reading the whole table (PostgreSQL 14's release notes, "TID range
/// scans"). Before, the rows' places are named one by one.
const TID_RANGES: u32 = 140_000;

/// One file of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub relation: u32,
    pub file: u32,
    pub blocks: u32,
    /// On disk, with what lies in TOAST.
    pub bytes: u64,
}

/// Blocks of the largest range, while there are not too many: 64 MiB at the usual size.
const WORTH: u32 = if cfg!(test) { 8 } else { 8192 };
/// About so many ranges have the most blocks.
const MOST: u32 = 256;
/// A range is no more than this part of what is left of its file, so that all workers come to the end together.
const SHARE: u32 = 8;

/// The ranges of a table that lies in these files. The last one of each is open-ended: it grows while we read.
pub fn plan(parts: &[Part]) -> Vec<Range> {
    let mut ranges = Vec::new();
    for part in parts {
        let most = WORTH.max(part.blocks.div_ceil(MOST));
        let least = most / SHARE;
        let (mut next, mut left) = (0, part.blocks);
        let range = |next, end| Range::Blocks { relation: part.relation, file: part.file, next, end };
        while left > least {
            let size = (left / SHARE).clamp(least, most);
            ranges.push(range(next, Some(next + size)));
            (next, left) = (next + size, left - size);
        }
        ranges.push(range(next, None));
    }
    ranges
}

/// Bytes of a table's files that are read, by its recorded ranges, each with whether it was read to its end. A file's blocks are taken to be
/// alike: TOAST is read with the rows that it belongs to. A file without ranges came later, and is not read.
pub fn bytes_read(parts: &[Part], ranges: &[(Range, bool)]) -> u64 {
    let of_part = |part: &Part| {
        let mine = ranges.iter().filter(|(range, _)| range.relation() == part.relation);
        let (mut known, mut left) = (false, 0);
        for (range, done) in mine {
            known = true;
            left += if *done { 0 } else { u64::from(range.left(part.blocks)) };
        }
        let blocks = u64::from(part.blocks);
        let read = if known { blocks.saturating_sub(left) } else { 0 };
        // by way of 128 bits: both can be terabytes
        (u128::from(part.bytes) * u128::from(read)).checked_div(u128::from(blocks)).unwrap_or(0) as u64
    };
    parts.iter().map(of_part).sum()
}

impl Range {
    /// The `pg_class.oid` whose file it is a part of.
    pub fn relation(&self) -> u32 {
        let Range::Blocks { relation, .. } = self;
        *relation
    }

    /// The next chunk of so many units: where it ends, given how many blocks the file has now. The chunk that reaches the end is the last.
    pub fn chunk(&self, units: u32, blocks: u32) -> Chunk {
        let Range::Blocks { next, end, .. } = self;
        let bound = end.map_or(u32::MAX, |end| if broken!(StopsShort) { end - 1 } else { end });
        let until = next.saturating_add(units.max(1)).min(bound);
        let last = until >= bound || end.is_none() && until >= blocks;
        Chunk { from: *next, until, last }
    }

    /// Blocks that are still to be read, where the file has so many now.
    fn left(&self, blocks: u32) -> u32 {
        let Range::Blocks { next, end, .. } = self;
        end.unwrap_or(u32::MAX).min(blocks).saturating_sub(*next)
    }

    /// The same range behind a chunk.
    #[must_use]
    pub fn behind(&self, chunk: &Chunk) -> Self {
        let Range::Blocks { relation, file, end, .. } = self;
        Range::Blocks { relation: *relation, file: *file, next: chunk.until, end: *end }
    }
}

/// A piece of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub from: u32,
    /// Not in it.
    pub until: u32,
    /// The range ends with it.
    pub last: bool,
}

impl Chunk {
    /// The condition on the source's rows. `version` is the source's `server_version_num`; the file has so many blocks, seen behind the snapshot.
    pub fn condition(&self, version: u32, blocks: u32) -> String {
        if version >= TID_RANGES {
            return format!("ctid >= '({},0)'::pg_catalog.tid AND ctid < '({},0)'::pg_catalog.tid", self.from, self.until);
        }
        // storage/bufpage.h, access/htup_details.h: 24 bytes head a page, and a row takes a pointer of 4 and a header of 24 at the least
        format!(
            "ctid = ANY (ARRAY(SELECT ('(' || block || ',' || nth || ')')::pg_catalog.tid
             FROM pg_catalog.generate_series({}::bigint, {}::bigint - 1) AS block,
             pg_catalog.generate_series(1, (pg_catalog.current_setting('block_size')::integer - 24) / 28) AS nth))",
            self.from,
            self.until.min(blocks)
        )
    }

    pub fn units(&self) -> u32 {
        self.until - self.from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(next: u32, end: Option<u32>) -> Range {
        Range::Blocks { relation: 1, file: 2, next, end }
    }

    #[test]
    fn an_old_server_is_told_each_place_of_the_blocks_that_are_there() {
        let chunk = Chunk { from: 3, until: 20, last: true };
        assert_eq!(chunk.condition(140_000, 9), "ctid >= '(3,0)'::pg_catalog.tid AND ctid < '(20,0)'::pg_catalog.tid");
        assert!(chunk.condition(130_022, 9).contains("generate_series(3::bigint, 9::bigint - 1) AS block"));
        assert!(chunk.condition(130_022, 90).contains("generate_series(3::bigint, 20::bigint - 1) AS block"));
    }

    #[test]
    fn ranges_cover_every_block_once_and_the_last_is_open() {
        for blocks in [0, 1, WORTH, WORTH + 1, 100_000, 4_000_000_000] {
            let ranges = plan(&[Part { relation: 1, file: 2, blocks, bytes: 0 }]);
            let mut at = 0;
            for (nth, range) in ranges.iter().enumerate() {
                let Range::Blocks { next, end, .. } = range;
                assert_eq!(*next, at, "{blocks}");
                assert_eq!(end.is_none(), nth + 1 == ranges.len());
                at = end.unwrap_or(at);
                assert!(end.is_none_or(|end| end > *next));
            }
            assert!(ranges.len() <= (MOST + 3 * SHARE) as usize, "{}", ranges.len());
        }
    }

    #[test]
    fn what_is_read_of_a_table_follows_from_its_ranges() {
        let part = |relation, blocks, bytes| Part { relation, file: 2, blocks, bytes };
        let of = |relation, next, end| Range::Blocks { relation, file: 2, next, end };
        // half of the first file, whose rows are mostly in TOAST; all of the second; the third came later
        let parts = [part(1, 100, 10_000), part(2, 100, 100), part(3, 50, 50)];
        let ranges =
            [(of(1, 40, Some(50)), false), (of(1, 60, None), false), (of(2, 50, Some(50)), true), (of(2, 100, None), true)];
        assert_eq!(bytes_read(&parts, &ranges), 5000 + 100);
        assert_eq!(bytes_read(&parts, &[]), 0, "nothing is planned yet");
        assert_eq!(bytes_read(&[part(1, 0, 0)], &[(of(1, 0, None), false)]), 0, "an empty table");
        assert_eq!(bytes_read(&[part(1, 30, 300)], &ranges), 300, "the file shrank meanwhile");
        let great = [part(1, u32::MAX, u64::MAX / 4)];
        assert_eq!(bytes_read(&great, &[(of(1, 5, None), true)]), u64::MAX / 4);
    }

    #[test]
    fn a_range_is_read_chunk_by_chunk() {
        let range = blocks(0, Some(25));
        let first = range.chunk(10, 100);
        assert_eq!(first, Chunk { from: 0, until: 10, last: false });
        let rest = range.behind(&first).behind(&Chunk { from: 10, until: 20, last: false });
        assert_eq!(rest.chunk(10, 100), Chunk { from: 20, until: 25, last: true });
        let open = blocks(90, None);
        assert_eq!(open.chunk(10, 101), Chunk { from: 90, until: 100, last: false }, "the file has grown");
        assert_eq!(open.chunk(10, 100), Chunk { from: 90, until: 100, last: true });
        assert_eq!(blocks(0, None).chunk(10, 0), Chunk { from: 0, until: 10, last: true });
    }
}
