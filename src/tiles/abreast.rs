//! A frame's rows into the tiles that lie side by side under them.
//!
//! A tile's part of a row is some hundred bytes. Copied tile by tile a frame is read in strides, and costs 1.4 times a copy
//! of its rows; row by row across the tiles, with the next row called ahead, it costs what such a copy does.

use coverslip_pixels::developer::Developer;

use super::grid::Rect;
use super::slot::{Arrival, Copied, Delivery, Slot};
use coverslip_base::memory::Boxed;

/// Tiles that receive a row together, at most.
pub(super) const ABREAST: usize = 8;

/// Copies a frame's pixels. `parts`, from left to right, says which slot receives which part; all have the same rows.
/// Gives what each has received.
pub(super) fn receive(
    slots: &mut [Option<Boxed<Slot>>],
    parts: &[(u32, Rect)],
    delivery: &Delivery<'_, '_>,
    developer: &mut Developer,
) -> [Copied; ABREAST] {
    let mut copied = [Copied::default(); ABREAST];
    let (Some((_, first)), Some((_, last))) = (parts.first(), parts.last()) else { return copied };
    let mut arrivals: [Option<(usize, Arrival)>; ABREAST] = std::array::from_fn(|at| {
        let &(slot, part) = parts.get(at)?;
        let arrival = slots[slot as usize].as_mut()?.begin(delivery.source, part);
        Some((slot as usize, arrival))
    });
    let Delivery { source, origin, .. } = *delivery;
    let columns = ((first.x0 - origin.0) as usize, (last.x1 - origin.0) as usize);
    if let Some(rows) = developer.delivered(source, columns.0, columns.1) {
        for y in first.y0..first.y1 {
            let row = (y - origin.1) as usize;
            for (&(_, part), arrival) in parts.iter().zip(&mut arrivals) {
                let Some((slot, arrival)) = arrival else { continue };
                let Some(slot) = slots[*slot].as_mut() else { continue };
                let at = (part.x0 - first.x0) as usize;
                if y + 1 < first.y1 {
                    rows.call_ahead(row + 1, at, (part.x1 - first.x0) as usize);
                }
                slot.call_ahead(arrival, y + 1);
                slot.receive_row(arrival, y, at, || rows.row(row));
            }
        }
    } else {
        for (slot, arrival) in arrivals.iter_mut().flatten() {
            if let Some(slot) = slots[*slot].as_mut() {
                slot.receive_developed(arrival, delivery, developer);
            }
        }
    }
    for (arrival, copied) in arrivals.iter_mut().zip(&mut copied) {
        let Some((slot, arrival)) = arrival else { continue };
        let Some(slot) = slots[*slot].as_mut() else { continue };
        *copied = slot.end(arrival, delivery);
    }
    copied
}
