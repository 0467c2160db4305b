//! Tables without lines, as `systemctl` prints them: they adapt to the width of the terminal.
//!
//! What does not fit gives way in this order: columns that may be left out, the one of the highest rank first; then the
//! text of the one column that may be cut. Without a terminal nothing is left out or cut.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Row, Table as Grid};

use super::text::safe;

/// Columns the cut column keeps at least, before others are left out.
const LEAST_CUT_WIDTH: u16 = 16;

/// One column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// Its title.
    pub(crate) title: &'static str,
    /// Numbers: aligned to the right.
    pub(crate) right: bool,
    /// Left out where there is no room, the highest rank first. 0: never.
    pub(crate) rank: u8,
    /// Its text is cut where there is no room. At most one, the last.
    pub(crate) cut: bool,
}

impl Column {
    /// A column that is never left out.
    pub(crate) const fn new(title: &'static str) -> Self {
        Self { title, right: false, rank: 0, cut: false }
    }

    /// The same, for numbers.
    pub(crate) const fn right(mut self) -> Self {
        self.right = true;
        self
    }

    /// The same, left out where there is no room.
    pub(crate) const fn rank(mut self, rank: u8) -> Self {
        self.rank = rank;
        self
    }

    /// The same, cut where there is no room.
    pub(crate) const fn cut(mut self) -> Self {
        self.cut = true;
        self
    }
}

/// The lines of a table, its head first, without blanks at their ends. Cells are made harmless here.
pub(crate) fn lines(columns: &[Column], rows: &[Vec<String>], width: Option<u16>) -> Vec<String> {
    let mut grid = Grid::new();
    grid.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    grid.set_header(one_line(columns.iter().map(|column| column.title.to_owned())));
    for row in rows {
        grid.add_row(one_line(row.iter().map(|cell| safe(cell).into_owned())));
    }
    for (index, column) in columns.iter().enumerate() {
        if let Some(shown) = grid.column_mut(index) {
            shown.set_padding((0, 2));
            if column.right {
                shown.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    if let Some(width) = width {
        fit(&mut grid, columns, width);
    }
    grid.lines().map(|line| line.trim_end().to_owned()).collect()
}

fn one_line(cells: impl Iterator<Item = String>) -> Row {
    let mut row = Row::from(cells.map(Cell::new).collect::<Vec<_>>());
    row.max_height(1);
    row
}

/// Leaves out and cuts until the table is not wider than `width`, or nothing more can give way.
fn fit(grid: &mut Grid, columns: &[Column], width: u16) {
    let widths = grid.column_max_content_widths();
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    let needed = |shown: &[usize], cut: u16| -> u32 {
        shown
            .iter()
            .map(|index| {
                let content = widths.get(*index).copied().unwrap_or(0);
                2 + u32::from(if columns[*index].cut { content.min(cut) } else { content })
            })
            .sum()
    };
    while needed(&shown, LEAST_CUT_WIDTH) > u32::from(width) {
        let Some(last) =
            shown.iter().copied().filter(|index| columns[*index].rank > 0).max_by_key(|i| columns[*i].rank)
        else {
            break;
        };
        shown.retain(|index| *index != last);
        if let Some(column) = grid.column_mut(last) {
            column.set_constraint(ColumnConstraint::Hidden);
        }
    }
    let Some(cut) = shown.iter().copied().find(|index| columns[*index].cut) else { return };
    let full = widths.get(cut).copied().unwrap_or(0);
    let over = needed(&shown, u16::MAX).saturating_sub(u32::from(width));
    let kept = u32::from(full).saturating_sub(over).max(u32::from(LEAST_CUT_WIDTH.min(full)));
    grid.set_content_arrangement(ContentArrangement::Dynamic).set_width(u16::MAX);
    for index in shown {
        let fixed = if index == cut { u16::try_from(kept).unwrap_or(u16::MAX) } else { widths[index] };
        if let Some(column) = grid.column_mut(index) {
            column.set_constraint(ColumnConstraint::Absolute(comfy_table::Width::Fixed(fixed + 2)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[
        Column::new("PLUGIN"),
        Column::new("STATE"),
        Column::new("PID").right().rank(2),
        Column::new("CPU").right().rank(1),
        Column::new("MESSAGE").cut(),
    ];

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 5]| cells.map(str::to_owned).to_vec();
        vec![
            row(["policy-gate", "ready", "41", "1.5s", ""]),
            row(["audit", "waiting", "", "", "exited with status 1, and \x1b[2J said so at length"]),
        ]
    }

    #[test]
    fn nothing_is_cut_without_a_terminal() {
        let lines = lines(COLUMNS, &rows(), None);
        assert_eq!(lines[0], "PLUGIN       STATE    PID   CPU  MESSAGE");
        assert_eq!(lines[1], "policy-gate  ready     41  1.5s");
        assert_eq!(lines[2], "audit        waiting             exited with status 1, and \\u{1b}[2J said so at length");
    }

    #[test]
    fn a_narrow_terminal_cuts_the_text_then_leaves_columns_out() {
        let wide = lines(COLUMNS, &rows(), Some(60));
        assert_eq!(wide[0], "PLUGIN       STATE    PID   CPU  MESSAGE");
        assert!(wide[2].ends_with('…') && wide[2].chars().count() <= 60, "{wide:?}");
        let narrow = lines(COLUMNS, &rows(), Some(46));
        assert_eq!(narrow[0], "PLUGIN       STATE     CPU  MESSAGE");
        let narrowest = lines(COLUMNS, &rows(), Some(40));
        assert_eq!(narrowest[0], "PLUGIN       STATE    MESSAGE");
        assert!(narrowest.iter().all(|line| line.chars().count() <= 40), "{narrowest:?}");
    }
}
