// SPDX-License-Identifier: AGPL-3.0-only
//! The constants of the BPF headers as build.rs translates them.

#[path = "../../build/constants.rs"]
mod translation;

use translation::translate;

#[test]
fn enumerators_and_macros_become_rust() {
    let header = "#ifndef H /* guard */\n#define H\n\
        /* a comment\n of two lines */\n\
        enum rfm_kind {\n\tRFM_A = 0, /* the first */\n\tRFM_B = 1,\n};\n\
        #define RFM_FLAG\t(1u << 31) /* a flag */\n\
        #define RFM_LONG 0x9e37ULL\n\
        #define RFM_HEX 0x0fu\n\
        #define RFM_PART(link) ((link) >> RFM_B & \\\n\t3)\n#endif\n";
    let expected = "pub const RFM_FLAG: u32 = (1 << 31);\n\
        pub const RFM_LONG: u64 = 0x9e37;\n\
        pub const RFM_HEX: u32 = 0x0f;\n\
        pub const fn RFM_PART(link: u32) -> u32 { ((link) >> RFM_B &  \t3) }\n\
        pub const RFM_A: u32 = 0;\n\
        pub const RFM_B: u32 = 1;\n";
    assert_eq!(translate(header), expected);
}
