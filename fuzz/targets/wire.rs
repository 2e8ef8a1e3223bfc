#![no_main]
coverslip_fuzz::fuzz!(wire);
