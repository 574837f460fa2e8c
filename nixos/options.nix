# Makes an option of each key of the configuration from types.nix, so that NixOS has the types, defaults and texts of the
# declarations in src/config/, and a machine with the module and nothing else runs the shipped config.
#
#   keys      the keys: { path, type, default, shipped, required, description }; list tables are marked by []
#   options   the tree of options below services.rfm.settings
#   effective settings → what has to be written: what was set, and what the shipped file sets itself
# SPDX-License-Identifier: AGPL-3.0-only
{ lib }:
let
  inherit (builtins)
    attrNames filter hasAttr head isAttrs isList isString length listToAttrs replaceStrings split tail;

  known = import ./types.nix { inherit lib; };

  keys = map (path: known.${path} // { inherit path; }) (attrNames known);

  optional = key: key.type.name == "nullOr";

  optionOf = key:
    lib.mkOption ({
      inherit (key) type description;
    } // (
      if key.required then { example = key.default; }
      else if optional key then { default = null; example = key.default; }
      else { default = key.default; }
    ));

  # "a.b[].c" → [ "a" "b[]" "c" ]
  parts = path: filter isString (split "\\." path);

  # The keys below one table → its options; those of list tables in submodules.
  tree = entries:
    let
      names = attrNames (listToAttrs (map (entry: { name = head entry.rest; value = null; }) entries));
      below = name: filter (entry: head entry.rest == name) entries;
      inner = name: map (entry: entry // { rest = tail entry.rest; }) (below name);
      bare = name: replaceStrings [ "[]" ] [ "" ] name;
      isLeaf = name: length (head (below name)).rest == 1;
      isTable = name: bare name != name;
    in
    listToAttrs (map
      (name: {
        name = bare name;
        value =
          if isLeaf name then optionOf (head (below name)).key
          else if isTable name then
            lib.mkOption
              {
                type = lib.types.listOf (lib.types.submodule { options = tree (inner name); });
                default = [ ];
                description = "One table for each.";
              }
          else tree (inner name);
      })
      names);

  # A key is written where it was given another value than the program takes by itself, or the shipped file sets it.
  effective = prefix: value:
    let
      child = name: if prefix == "" then name else "${prefix}.${name}";
      keep = name:
        let path = child name; key = known.${path} or null; v = value.${name}; in
        if v == null then false
        else if key != null && !key.required then key.shipped || optional key || v != key.default
        else if isAttrs v then write name != { }
        else if isList v then v != [ ]
        else true;
      write = name:
        let path = child name; v = value.${name}; in
        if hasAttr path known then v
        else if isAttrs v then effective path v
        else map (effective "${path}[]") v;
    in
    listToAttrs (map (name: { inherit name; value = write name; }) (filter keep (attrNames value)));
in
{
  inherit keys;
  options = tree (map (key: { inherit key; rest = parts key.path; }) keys);
  effective = effective "";
}
