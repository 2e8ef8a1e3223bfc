/// Whether the system gives this much memory. It is given back at once.
pub fn there_is(bytes: u64) -> bool {
    let mut room: Vec<u8> = Vec::new();
    let there = usize::try_from(bytes).is_ok_and(|bytes| room.try_reserve_exact(bytes).is_ok());
    // An allocation that nobody looks at may be left out by the compiler.
    std::hint::black_box(&room);
    there
}
