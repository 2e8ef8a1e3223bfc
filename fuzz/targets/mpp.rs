#![no_main]
coverslip_fuzz::fuzz!(mpp);
