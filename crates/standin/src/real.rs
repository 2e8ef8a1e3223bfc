//! The real library, which answers.

use std::sync::OnceLock;

use coverslip_plugin_abi as abi;

/// The real library's table, once a host has asked for it.
static REAL: OnceLock<&'static abi::Api> = OnceLock::new();
/// What the command gives to the host's process: the real library's path.
const LIBRARY: &str = "COVERSLIP_VALIDATE_LIBRARY";

/// The real library's table. A host reaches a function of ours only through a table that `coverslip_get_api` gave.
pub(crate) fn real() -> &'static abi::Api {
    REAL.get().copied().expect("the table was given")
}

/// The real `coverslip_get_api`. The library stays loaded.
pub(crate) fn get_api() -> Option<abi::GetApiFn> {
    static SYMBOL: OnceLock<Option<abi::GetApiFn>> = OnceLock::new();
    *SYMBOL.get_or_init(|| {
        let path = std::env::var_os(LIBRARY)?;
        // SAFETY: it is the library that the command was told of; its initialisers do nothing, by the contract.
        let library = unsafe { libloading::Library::new(path) }.ok()?;
        // SAFETY: the symbol's type is the contract's.
        let symbol = unsafe { library.get::<abi::GetApiFn>(b"coverslip_get_api\0") }.ok().map(|symbol| *symbol);
        std::mem::forget(library);
        symbol
    })
}

/// Keeps the table that the real library gave.
pub(crate) fn remember(table: &'static abi::Api) {
    let _ = REAL.set(table);
}
