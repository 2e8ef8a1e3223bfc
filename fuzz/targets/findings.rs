#![no_main]
coverslip_fuzz::fuzz!(findings);
