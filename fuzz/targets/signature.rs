#![no_main]
coverslip_fuzz::fuzz!(signature);
