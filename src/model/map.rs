//! Defines the picture of all clients: in which order they stand, what each looks like, and how many of them a cell of a screen of some size has; drawing it is the UI's matter.

use std::ops::Range;

use crate::{
    event::Badge,
    fleet::ClientKey,
    model::{
        known::Known,
        order::urgency,
        pivot::{By, PartKey, Sorter},
        row::Row,
        totals::Totals,
    },
};

/// Clients that stand together.
#[derive(Clone, Debug)]
pub struct Block {
    pub key: PartKey,
    pub totals: Totals,
    /// Their places.
    pub places: Range<usize>,
}

/// All clients that the filter shows, as of the last second.
#[derive(Clone, Debug)]
pub struct Map {
    pub by: By,
    pub blocks: Vec<Block>,
    clients: Vec<ClientKey>,
    faces: Vec<Face>,
    /// The first client of the cell under the cursor, or one that was.
    cursor: Option<ClientKey>,
}

/// What is drawn of a client: how urgent it is, its badge, and whether it is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Face {
    urgency: u8,
    badge: Badge,
    is_down: bool,
}

impl Face {
    fn of(row: &Row) -> Face {
        Face { urgency: urgency(row) as u8, badge: row.badge(), is_down: row.is_down() }
    }

    fn is_unwell(self) -> bool {
        self.is_down || matches!(self.badge, Badge::Slow | Badge::Mute)
    }
}

/// How clients become cells of a screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Cells in a line.
    width: usize,
    /// Dots in a cell: 1, 2 (one above the other) or 8 (two columns of four).
    pub dots: usize,
    /// Clients that are a dot.
    pub each: usize,
    pub lines: Vec<Line>,
}

/// A line of the map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The name of a block.
    Head(usize),
    /// Cells with the clients at these places.
    Cells(Range<usize>),
}

/// What is in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The most urgent badge,
    pub worst: Badge,
    /// and whether who wears it should be up.
    pub is_down: bool,
    /// The dots in which somebody is not well, by bits.
    pub unwell: u8,
}

/// What the cursor points to.
#[derive(Clone, Debug)]
pub struct Spot<'m> {
    pub block: &'m Block,
    pub clients: &'m [ClientKey],
}

impl Grid {
    /// The coarsest picture of blocks of these sizes in so many cells, so that everybody is in it.
    pub fn of(sizes: &[usize], width: usize, height: usize) -> Grid {
        let width = width.max(1);
        // Names that take more than a third of the lines are left out.
        let has_heads = sizes.len() > 1 && sizes.len() * 3 <= height;
        let heads = if has_heads { sizes.len() } else { 0 };
        let all: usize = sizes.iter().sum();
        let lines = |dots: usize, each: usize| match has_heads {
            true => sizes.iter().map(|size| size.div_ceil(dots * each * width)).sum::<usize>() + heads,
            false => all.div_ceil(dots * each * width),
        };
        let room = height.saturating_sub(heads).max(1);
        let least = all.div_ceil(8 * width * room).max(1);
        let denser = [(1, 1), (2, 1)].into_iter().chain((least..).map(|each| (8, each)));
        let (dots, each) =
            denser.take(1_000_000).find(|(dots, each)| lines(*dots, *each) <= height).unwrap_or((8, all));
        let mut grid = Grid { width, dots, each: each.max(1), lines: Vec::new() };
        let mut begin = 0;
        match has_heads {
            true => {
                for (n, size) in sizes.iter().enumerate() {
                    grid.lines.push(Line::Head(n));
                    grid.add(begin..begin + size);
                    begin += size;
                }
            }
            false => grid.add(0..all),
        }
        grid
    }

    fn add(&mut self, places: Range<usize>) {
        let step = self.width * self.cell();
        let lines = places.clone().step_by(step).map(|begin| Line::Cells(begin..places.end.min(begin + step)));
        self.lines.extend(lines);
    }

    /// Clients in a cell.
    pub fn cell(&self) -> usize {
        self.dots * self.each
    }

    /// The cells of a line, each as the places of its clients.
    pub fn cells(&self, line: &Line) -> impl Iterator<Item = Range<usize>> + use<> {
        let places = match line {
            Line::Head(_) => 0..0,
            Line::Cells(places) => places.clone(),
        };
        let (end, cell) = (places.end, self.cell());
        places.step_by(cell).map(move |begin| begin..end.min(begin + cell))
    }

    /// The line and the column of the cell with a place.
    fn find(&self, place: usize) -> Option<(usize, usize)> {
        let is_it = |line: &Line| matches!(line, Line::Cells(places) if places.contains(&place));
        let line = self.lines.iter().position(is_it)?;
        let Line::Cells(places) = &self.lines[line] else { return None };
        Some((line, (place - places.start) / self.cell()))
    }

    /// The first place of the cell in a line that is at a column, or of the last one there is.
    fn at(&self, line: usize, column: usize) -> Option<usize> {
        match self.lines.get(line)? {
            Line::Head(_) => None,
            Line::Cells(places) => {
                let last = (places.len() - 1) / self.cell();
                Some(places.start + column.min(last) * self.cell())
            }
        }
    }
}

impl Map {
    /// The lines around the picture: its title, and what the cursor points to.
    pub const FRAME: usize = 2;

    pub(super) fn of(known: &Known, mut clients: Vec<ClientKey>, by: &By, cursor: Option<ClientKey>) -> Map {
        let by = if by.is_lasting() { by } else { &By::Endpoint };
        let sorter = Sorter::new(known, by);
        let mut sizes = vec![0; sorter.slots()];
        let slots: Vec<u32> = clients.iter().map(|key| sorter.slot(*key, known.row(*key)) as u32).collect();
        slots.iter().for_each(|slot| sizes[*slot as usize] += 1);
        // Each stands in the order of the fleet: where a client was, it is.
        let mut keyed: Vec<(u32, ClientKey)> = slots.into_iter().zip(clients.iter().copied()).collect();
        keyed.sort_unstable();
        clients.clear();
        clients.extend(keyed.into_iter().map(|(_, key)| key));
        let faces: Vec<Face> = clients.iter().map(|key| Face::of(known.row(*key))).collect();
        let mut begin = 0;
        let mut blocks = Vec::new();
        for (slot, size) in sizes.into_iter().enumerate().filter(|(_, size)| *size > 0) {
            let places = begin..begin + size;
            begin += size;
            let totals = Totals::count(clients[places.clone()].iter().map(|key| known.row(*key)));
            blocks.push(Block { key: sorter.key(slot), totals, places });
        }
        Map { by: by.clone(), blocks, clients, faces, cursor }
    }

    /// How many clients are in it.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// How it stands on a screen of so many columns and lines, its frame among them.
    pub fn grid(&self, (width, height): (usize, usize)) -> Grid {
        let sizes: Vec<usize> = self.blocks.iter().map(|block| block.places.len()).collect();
        Grid::of(&sizes, width, height.saturating_sub(Self::FRAME))
    }

    /// What is drawn in the cell with the clients at these places.
    pub fn cell(&self, places: Range<usize>, each: usize) -> Cell {
        let faces = &self.faces[places];
        let mut unwell = 0;
        for (n, dot) in faces.chunks(each).enumerate() {
            unwell |= u8::from(dot.iter().any(|face| face.is_unwell())) << n.min(7);
        }
        let worst = faces.iter().min();
        let (badge, is_down) = worst.map_or((Badge::Off, false), |face| (face.badge, face.is_down));
        Cell { worst: badge, is_down, unwell }
    }

    /// The first place of the cell under the cursor.
    pub fn cursor(&self, grid: &Grid) -> usize {
        let place = self.cursor.and_then(|cursor| self.clients.iter().position(|key| *key == cursor));
        let cell = place.and_then(|place| grid.find(place));
        cell.and_then(|(line, column)| grid.at(line, column)).unwrap_or(0)
    }

    pub(super) fn cursor_client(&self) -> Option<ClientKey> {
        self.cursor
    }

    /// Who is in the cell under the cursor.
    pub fn place(&self, grid: &Grid) -> Option<Spot<'_>> {
        let begin = self.cursor(grid);
        let (line, column) = grid.find(begin)?;
        let places = grid.cells(&grid.lines[line]).nth(column)?;
        let block = self.blocks.iter().find(|block| block.places.contains(&begin))?;
        Some(Spot { block, clients: &self.clients[places] })
    }

    fn move_to(&mut self, place: usize) {
        self.cursor = self.clients.get(place).or(self.clients.last()).copied();
    }

    /// Moves by so many cells.
    pub(super) fn step(&mut self, grid: &Grid, by: isize) {
        let Some((line, column)) = grid.find(self.cursor(grid)) else { return };
        let beside = match by {
            ..0 if column > 0 => grid.at(line, column - 1),
            ..0 => (0..line).rev().find_map(|line| grid.at(line, usize::MAX)),
            _ => {
                let is_last = |place: usize| grid.find(place) == Some((line, column));
                let next = grid.at(line, column + 1).filter(|place| !is_last(*place));
                next.or_else(|| (line + 1..grid.lines.len()).find_map(|line| grid.at(line, 0)))
            }
        };
        if let Some(place) = beside {
            self.move_to(place);
        }
    }

    /// Moves by so many lines of cells.
    pub(super) fn climb(&mut self, grid: &Grid, by: isize) {
        let Some((line, column)) = grid.find(self.cursor(grid)) else { return };
        let count = by.unsigned_abs();
        let place = match by < 0 {
            true => (0..line).rev().filter_map(|line| grid.at(line, column)).take(count).last(),
            false => (line + 1..grid.lines.len()).filter_map(|line| grid.at(line, column)).take(count).last(),
        };
        if let Some(place) = place {
            self.move_to(place);
        }
    }

    pub(super) fn go_to_end(&mut self, is_last: bool) {
        self.move_to(if is_last { self.clients.len().saturating_sub(1) } else { 0 });
    }

    /// Moves to the next cell where somebody is not well, or the one before; says whether there is one.
    pub(super) fn seek(&mut self, grid: &Grid, is_next: bool) -> bool {
        let begin = self.cursor(grid);
        let Some((line, column)) = grid.find(begin) else { return false };
        let end = grid.cells(&grid.lines[line]).nth(column).map_or(begin, |places| places.end);
        let is_unwell = |place: &usize| self.faces[*place].is_unwell();
        let found = match is_next {
            true => (end..self.faces.len()).find(is_unwell),
            false => (0..begin).rfind(is_unwell),
        };
        found.inspect(|place| self.move_to(*place)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_in_exactly_one_cell_at_every_size() {
        for sizes in [&[1][..], &[10], &[600, 300, 90, 10], &[25_000; 4], &[7; 200], &[1_000_000], &[]] {
            for (width, height) in [(1, 1), (38, 5), (78, 18), (118, 30), (198, 52)] {
                let grid = Grid::of(sizes, width, height);
                let cells = grid.lines.iter().flat_map(|line| grid.cells(line));
                let mut next = 0;
                for places in cells {
                    assert_eq!(places.start, next, "{sizes:?} {width}x{height}");
                    assert!(places.len() <= grid.cell() && !places.is_empty());
                    next = places.end;
                }
                assert_eq!(next, sizes.iter().sum::<usize>());
                assert!(grid.lines.len() <= height.max(1), "{sizes:?} {width}x{height}: {}", grid.lines.len());
            }
        }
        let dots = |sizes: &[usize]| Grid::of(sizes, 100, 10).dots;
        assert_eq!([dots(&[1_000]), dots(&[1_001]), dots(&[2_001]), dots(&[90_000])], [1, 2, 8, 8]);
        assert_eq!(Grid::of(&[90_000], 100, 10).each, 12);
    }
}
