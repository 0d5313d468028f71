//! Defines which columns the table has at which width and how wide they are; what stands in them is the table's matter.

use std::time::Duration;

use crate::{
    event::Badge,
    fleet::Fleet,
    model::{Column, Trend},
    ui::paint::width as columns_of,
    words::figures,
};

/// How wide a fleet's longest names are, in columns. Worked out once: names do not change. An only
/// endpoint counts as 0: it needs no column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Widths {
    client: u16,
    endpoint: u16,
    /// 0 where the fleet is not those of several agents.
    agent: u16,
    /// The shortest and the longest time that a cell of a trend stands for.
    trend: (Duration, Duration),
}

impl Widths {
    /// Looks at every client. Overlong names do not count in full: they are shortened.
    pub fn of(fleet: &Fleet) -> Widths {
        let longest = |names: &mut dyn Iterator<Item = &str>| names.map(columns_of).max().unwrap_or(0).min(40);
        let client = longest(&mut fleet.keys().map(|key| fleet.client(key).name.as_str()));
        let endpoint = longest(&mut fleet.endpoint_keys().map(|key| fleet.endpoint(key).name.as_str()));
        let agent = longest(&mut fleet.agents().into_iter().map(|agent| agent.name.as_str()));
        let widths = fleet.keys().map(|key| Trend::width_of(&fleet.client(key).settings));
        let trend =
            widths.fold((Duration::MAX, Duration::ZERO), |(least, most), width| (least.min(width), most.max(width)));
        let endpoint = if fleet.endpoint_keys().count() > 1 { endpoint.max(1) } else { 0 };
        Widths { client, endpoint, agent, trend }
    }

    /// The trend's head with the time that so many cells of it stand for, the longest one where clients differ.
    pub(super) fn trend_head(&self, cells: u16) -> String {
        let (least, most) = self.trend;
        let span = figures::age(most * u32::from(cells).min(Trend::LEN as u32));
        let text = if least == most { format!("TREND {span}") } else { format!("TREND <{span}") };
        if columns_of(&text) <= cells { text } else { "TREND".to_owned() }
    }
}

/// One column of the table on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub field: Field,
    /// Columns from the table's left edge.
    pub x: u16,
    pub width: u16,
}

/// What a column shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    State,
    Client,
    Agent,
    Endpoint,
    Latency,
    Trend,
    Reconnects,
    Since,
    Reason,
}

impl Field {
    /// In the order in which they are given up last to first.
    const BY_RANK: [Field; 9] = [
        Field::State,
        Field::Client,
        Field::Reason,
        Field::Agent,
        Field::Latency,
        Field::Since,
        Field::Trend,
        Field::Endpoint,
        Field::Reconnects,
    ];
    const IN_ORDER: [Field; 9] = [
        Field::State,
        Field::Client,
        Field::Agent,
        Field::Endpoint,
        Field::Latency,
        Field::Trend,
        Field::Reconnects,
        Field::Since,
        Field::Reason,
    ];

    pub(super) fn head(self) -> &'static str {
        match self {
            Field::State => "STATE",
            Field::Client => "CLIENT",
            Field::Agent => "AGENT",
            Field::Endpoint => "ENDPOINT",
            Field::Latency => "LATENCY",
            Field::Trend => "TREND",
            Field::Reconnects => "RECONN",
            Field::Since => "FOR",
            Field::Reason => "REASON",
        }
    }

    /// What the table is sorted by when it is sorted by this column.
    pub(super) fn sorts(self) -> Option<Column> {
        Some(match self {
            Field::State => Column::State,
            Field::Client => Column::Client,
            Field::Endpoint => Column::Endpoint,
            Field::Latency => Column::Last,
            Field::Agent => return None,
            Field::Trend => Column::Trend,
            Field::Reconnects => Column::Reconnects,
            Field::Since => Column::Since,
            Field::Reason => Column::Reason,
        })
    }

    pub(super) fn is_number(self) -> bool {
        matches!(self, Field::Latency | Field::Reconnects | Field::Since)
    }

    /// The least width at which the column says what it is for, and widths that are better and best.
    fn widths(self, table: u16, widths: &Widths) -> [u16; 3] {
        match self {
            Field::State => [2 + Badge::WORD_WIDTH as u16; 3],
            Field::Client => [widths.client.clamp(8, 14), widths.client.clamp(8, 24), widths.client.clamp(8, 40)],
            Field::Agent => [widths.agent.clamp(5, 12), widths.agent.clamp(5, 16), widths.agent.clamp(5, 24)],
            Field::Endpoint => {
                [widths.endpoint.clamp(8, 12), widths.endpoint.clamp(8, 16), widths.endpoint.clamp(8, 24)]
            }
            Field::Latency => [7; 3],
            Field::Trend => [9, 12, 24],
            Field::Reconnects => [6; 3],
            Field::Since => [5; 3],
            // On a narrow screen the reason is worth more than any figure.
            Field::Reason if table < 48 => [table.saturating_sub(10 + widths.client.clamp(8, 14)), 34, 44],
            Field::Reason => [(table * 5 / 16).clamp(12, 24), 34, 44],
        }
    }
}

/// Lays out the columns of a table that is `width` wide. They are left out whole, not squeezed.
pub(super) fn places(width: u16, widths: &Widths) -> Vec<Place> {
    let gap = gap(width, widths);
    let first = if width < 60 { 2 } else { 3 };
    let mut kept: Vec<(Field, u16)> = Vec::with_capacity(Field::BY_RANK.len());
    let mut free = width.saturating_sub(first);
    for field in Field::BY_RANK {
        if (field, widths.endpoint) == (Field::Endpoint, 0) || (field, widths.agent) == (Field::Agent, 0) {
            continue;
        }
        let need = field.widths(width, widths)[0] + if kept.is_empty() { 0 } else { gap };
        if need > free {
            break;
        }
        free -= need;
        kept.push((field, field.widths(width, widths)[0]));
    }
    for better in 1..3 {
        for (field, given) in &mut kept {
            let more = field.widths(width, widths)[better].saturating_sub(*given).min(free);
            *given += more;
            free -= more;
        }
    }
    let mut x = first;
    let mut places = Vec::with_capacity(kept.len());
    for field in Field::IN_ORDER {
        if let Some((_, given)) = kept.iter().find(|(f, _)| *f == field) {
            // The reason is last and takes what is left.
            let width = if field == Field::Reason { width.saturating_sub(x) } else { *given };
            places.push(Place { field, x, width });
            x += width + gap;
        }
    }
    places
}

/// Between two columns. Where it grows there is room for it: no column is given up for it.
fn gap(width: u16, widths: &Widths) -> u16 {
    let wide = if widths.agent == 0 { 100 } else { 120 };
    if width < wide { 1 } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(width: u16, widths: Widths) -> Vec<Field> {
        places(width, &widths).into_iter().map(|p| p.field).collect()
    }

    fn widths(client: u16, endpoint: u16) -> Widths {
        Widths { client, endpoint, agent: 0, trend: (Duration::from_secs(5), Duration::from_secs(5)) }
    }

    #[test]
    fn a_wider_table_never_loses_a_column() {
        for client in [0, 8, 10, 14, 40] {
            for endpoint in [0, 4, 12, 40] {
                for agent in [0, 8, 40] {
                    let widths = Widths { agent, ..widths(client, endpoint) };
                    for width in 40..220 {
                        let (now, wider) = (shown(width, widths), shown(width + 1, widths));
                        assert!(now.iter().all(|f| wider.contains(f)), "{width}: {now:?} {wider:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn columns_stand_in_their_order_and_inside_the_table() {
        for width in 40..220 {
            let places = places(width, &widths(32, 20));
            assert!(
                places.windows(2).all(|p| p[0].x + p[0].width + gap(width, &widths(32, 20)) == p[1].x),
                "{places:?}"
            );
            assert!(places.last().is_some_and(|p| p.x + p.width <= width));
        }
    }

    #[test]
    fn short_names_show_every_column_at_90() {
        let all = Field::IN_ORDER.into_iter();
        assert_eq!(shown(90, widths(10, 8)), all.filter(|field| *field != Field::Agent).collect::<Vec<_>>());
        assert_eq!(shown(98, Widths { agent: 6, ..widths(10, 8) }), Field::IN_ORDER);
        assert_eq!(shown(40, widths(10, 8)), [Field::State, Field::Client, Field::Reason]);
    }

    #[test]
    fn the_trend_says_how_far_back_it_goes() {
        let s = Duration::from_secs;
        let head = |least, most, cells| {
            Widths { client: 8, endpoint: 8, agent: 0, trend: (s(least), s(most)) }.trend_head(cells)
        };
        assert_eq!([9, 12, 24].map(|cells| head(5, 5, cells)), ["TREND 45s", "TREND 1m", "TREND 2m"]);
        assert_eq!((head(1, 30, 12), head(1, 5, 9)), ("TREND <6m".to_owned(), "TREND".to_owned()));
    }
}
