/// Sets rows below a heading in aligned columns: the first to the left, the others by their `Align`.
pub(super) fn table<const N: usize>(heading: [&str; N], align: [Align; N], rows: &[[String; N]]) -> String {
    let mut widths = heading.map(|text| text.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for row in std::iter::once(&heading.map(str::to_owned)).chain(rows) {
        let line = row
            .iter()
            .zip(widths)
            .zip(align)
            .map(|((cell, width), align)| match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            })
            .collect::<Vec<_>>()
            .join("  ");
        out += line.trim_end();
        out.push('\n');
    }
    out
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Align {
    Left,
    Right,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligns_to_the_widest_cell() {
        let rows = [["attach/cortex", "7.4 ns", "ok"], ["µ", "61 µs", ""]].map(|row| row.map(str::to_owned));
        let text = table(
            ["name", "median", ""],
            [Align::Left, Align::Right, Align::Left],
            &rows,
        );
        assert_eq!(
            text,
            "name           median\n\
             attach/cortex  7.4 ns  ok\n\
             µ               61 µs\n"
        );
    }
}
