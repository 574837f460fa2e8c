// SPDX-License-Identifier: AGPL-3.0-only
//! `section!` declares a table of the file: each key once, with its type, limits, default, unit, reload class and text.
//!
//! ```text
//! section! {
//!     /// The purpose of the struct.
//!     pub struct Collector(machine: &Machine) {          the context of defaults and limits
//!         /// The meaning of the field, if its name does not explain it.
//!         max_flows: u32 = key {
//!             reload: Applied,                           or Restart, or Conditional("..."): see `Reload`
//!             type: number(0..=MAX_MAX_FLOWS),           one of values.rs: it has the limits
//!             unit: "flows",                             may be left out, as may required, example, recommended, details
//!             default: 65_536,
//!             text: "Flows kept.",                       for config/rfm.toml, NixOS and all below
//!             details: "If the table is full, ...",      for the manual and docs/reference/configuration.md
//!         }
//!         inner: Inner = section { with: (machine), text: "", }
//!         #[serde(skip_serializing_if = "Vec::is_empty")]
//!         entry: Vec<Entry> = tables { reload: Applied, of: Entry, max: 16, with: (), text: "...", }
//!     }
//!     complete(collector) { ... }                        changes what was read, such as 0 to the value it stands for
//!     reload(old, new) { ... }                           applies the keys whose class is Conditional
//! }
//! ```
//!
//! `impl Entry() { ... }` in place of `pub struct` is for a struct that other rooms define.
//!
//! It makes the struct, and three functions: `read` for the file, `reload` for the keys that a reload applies, and
//! `describe` for documents. A field's default may use the fields above it.

/// Returns the key of a field: `r#for` is the key `for`.
pub(super) fn key_name(field: &'static str) -> &'static str {
    field.strip_prefix("r#").unwrap_or(field)
}

macro_rules! section {
    (
        $(#[$attribute:meta])*
        pub struct $Name:ident($($context:ident: $Context:ty),*) {
            $(
                $(#[$field_attribute:meta])*
                $field:ident: $Type:ty = $form:ident { $($entry:tt)* }
            )*
        }
        $(complete($this:ident) $complete:block)?
        $(reload($old:ident, $new:ident) $reload:block)?
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        pub struct $Name {
            $($(#[$field_attribute])* pub $field: $Type,)*
        }

        $crate::config::section::section! {
            impl $Name($($context: $Context),*) {
                $($field: $Type = $form { $($entry)* })*
            }
            $(complete($this) $complete)?
            $(reload($old, $new) $reload)?
        }
    };
    (
        impl $Name:ident($($context:ident: $Context:ty),*) {
            $($field:ident: $Type:ty = $form:ident { $($entry:tt)* })*
        }
        $(complete($this:ident) $complete:block)?
        $(reload($old:ident, $new:ident) $reload:block)?
    ) => {
        impl $Name {
            /// Reads the section; the document collects its errors.
            pub(super) fn read(
                section: &$crate::config::document::Section<'_>,
                $($context: $Context),*
            ) -> Self {
                $(let $field: $Type = $crate::config::section::read!(section, $field, $form { $($entry)* });)*
                #[allow(unused_mut, reason = "only some sections have a complete block")]
                let mut read = Self { $($field),* };
                $({ let $this = &mut read; $complete })?
                read
            }

            /// Copies from `new` the values that a reload applies.
            #[allow(dead_code, reason = "an entry of a list is replaced with the list")]
            pub(super) fn reload(&mut self, new: &Self) {
                $($crate::config::section::reload!(self, new, $field, $form { $($entry)* });)*
                $({ let ($old, $new) = (self, new); $reload })?
            }

            /// Describes each key to documents.
            #[allow(unused_variables, reason = "few defaults use the fields above them")]
            pub(super) fn describe(
                docs: &mut $crate::config::reference::SectionReference,
                $($context: $Context),*
            ) {
                $($crate::config::section::describe!(docs, $field: $Type, $form { $($entry)* });)*
            }
        }
    };
}

macro_rules! read {
    ($section:ident, $field:ident, key {
        reload: $reload:expr,
        type: $type:expr,
        $(unit: $unit:expr,)?
        required: $example:expr,
        default: $default:expr,
        $($text:tt)*
    }) => {
        $section.required($crate::config::section::key_name(stringify!($field)), $type, $example).unwrap_or($default)
    };
    ($section:ident, $field:ident, key {
        reload: $reload:expr,
        type: $type:expr,
        $(unit: $unit:expr,)?
        default: $default:expr,
        $($text:tt)*
    }) => {
        $section.read($crate::config::section::key_name(stringify!($field)), $type, $default)
    };
    ($section:ident, $field:ident, section {
        of: $Inner:ty,
        with: ($($context:expr),*),
        $($text:tt)*
    }) => {
        <$Inner>::read(&$section.section($crate::config::section::key_name(stringify!($field))), $($context),*)
    };
    ($section:ident, $field:ident, tables {
        reload: $reload:expr,
        of: $Inner:ty,
        max: $max:expr,
        with: ($($context:expr),*),
        $($text:tt)*
    }) => {{
        let tables = $section.sections($crate::config::section::key_name(stringify!($field)), $max);
        tables.iter().map(|table| <$Inner>::read(table, $($context),*)).collect()
    }};
    ($section:ident, $field:ident, free_keys {
        reload: $reload:expr,
        type: $type:expr,
        key_type: $key_type:expr,
        $($text:tt)*
    }) => {
        $section.entries($crate::config::section::key_name(stringify!($field)), $key_type, $type)
    };
}

macro_rules! reload {
    ($old:ident, $new:ident, $field:ident, section { $($text:tt)* }) => {
        $old.$field.reload(&$new.$field)
    };
    ($old:ident, $new:ident, $field:ident, $form:ident { reload: $reload:expr, $($text:tt)* }) => {
        $reload.apply(&mut $old.$field, &$new.$field)
    };
}

macro_rules! describe {
    ($docs:ident, $field:ident: $Type:ty, key {
        reload: $reload:expr,
        type: $type:expr,
        $(unit: $unit:expr,)?
        $(required: $required:expr,)?
        default: $default:expr,
        $(example: $example:expr,)?
        $(recommended: $recommended:expr,)?
        text: $text:expr,
        $(details: $details:expr,)?
    }) => {
        let $field: $Type = $default;
        $docs.key(&$type, Some(&$field), $crate::config::reference::KeyDeclaration {
            name: $crate::config::section::key_name(stringify!($field)),
            unit: $crate::config::section::optional!($($unit)?),
            required: $crate::config::section::optional!($($required)?).is_some(),
            example: $crate::config::section::optional!($($example)?),
            recommended: $crate::config::section::optional!($($recommended)?),
            reload: $reload,
            text: $text,
            details: $crate::config::section::optional!($($details)?),
        });
    };
    ($docs:ident, $field:ident: $Type:ty, section {
        of: $Inner:ty,
        with: ($($context:expr),*),
        text: $text:expr,
        $(details: $details:expr,)?
    }) => {
        $docs.section(
            $crate::config::section::key_name(stringify!($field)),
            $crate::config::reference::TableLayout::Table,
            $text,
            $crate::config::section::optional!($($details)?),
            |docs| <$Inner>::describe(docs, $($context),*),
        );
    };
    ($docs:ident, $field:ident: $Type:ty, tables {
        reload: $reload:expr,
        of: $Inner:ty,
        max: $max:expr,
        with: ($($context:expr),*),
        text: $text:expr,
        $(details: $details:expr,)?
    }) => {
        $docs.section(
            $crate::config::section::key_name(stringify!($field)),
            $crate::config::reference::TableLayout::Tables($max),
            $text,
            $crate::config::section::optional!($($details)?),
            |docs| <$Inner>::describe(docs, $($context),*),
        );
    };
    ($docs:ident, $field:ident: $Type:ty, free_keys {
        reload: $reload:expr,
        type: $type:expr,
        key_type: $key_type:expr,
        example: $name:literal = $example:expr,
        text: $text:expr,
        key_text: $key_text:expr,
    }) => {
        let example = $crate::config::reference::KeyDeclaration {
            example: Some($example),
            ..$crate::config::reference::KeyDeclaration::new($name, $reload, $key_text)
        };
        $docs.free_keys($crate::config::section::key_name(stringify!($field)), $text, &$type, example);
    };
}

macro_rules! optional {
    () => {
        None::<&str>
    };
    ($value:expr) => {
        Some($value)
    };
}

pub(super) use {describe, optional, read, reload, section};
