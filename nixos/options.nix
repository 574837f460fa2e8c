# Reads config/rfm.toml, which shows every key with its default and one comment, and makes an option of each key. So
# what NixOS says of a key is what the file says of it, and a machine with the module alone runs the shipped config.
#
#   keys      what the file has: { path, default, description, shipped }; list tables are marked by []
#   options   the tree of options below services.rfm.settings
#   effective settings → what has to be written: what was set, and what the shipped file sets itself
# SPDX-License-Identifier: AGPL-3.0-only
{ lib }:
let
  inherit (builtins)
    attrNames concatStringsSep elemAt filter foldl' fromTOML hasAttr head isAttrs isList isString length listToAttrs match
    readFile replaceStrings split tail;

  types = import ./types.nix { inherit lib; };

  lines = filter isString (split "\n" (readFile ../config/rfm.toml));

  # One line of the file after those before it.
  step = state: line:
    let
      list = match "#?\\[\\[(.*)]]" line;
      table = match "#?\\[([^[].*)]" line;
      entry = match "(#?)([a-z_-]+) = (.*)" line;
      comment = match "# (.*)" line;
      inVrf = state.section == "agent.enrich.rib.vrf";
    in
    if list != null then state // { section = "${head list}[]"; comment = [ ]; }
    else if table != null then state // { section = head table; comment = [ ]; }
    else if entry != null then
      state // {
        # a key without a comment shares that of the one before
        said = if state.comment == [ ] then state.said else state.comment;
        comment = [ ];
        keys = state.keys ++ [{
          path = if inVrf then state.section else "${state.section}.${elemAt entry 1}";
          default = if inVrf then { } else (fromTOML "value = ${elemAt entry 2}").value;
          shipped = head entry == "";
          description = concatStringsSep " " (if state.comment == [ ] then state.said else state.comment);
        }];
      }
    else if comment != null then state // { comment = state.comment ++ comment; }
    else state // { comment = [ ]; };

  keys = (foldl' step { section = ""; comment = [ ]; said = [ ]; keys = [ ]; } lines).keys;

  known = listToAttrs (map (key: { name = key.path; value = key; }) keys);
  strangers = filter (path: !hasAttr path known) (attrNames types);

  typeOf = key: types.${key.path} or (throw "nixos/types.nix: no type for ${key.path} of config/rfm.toml");
  optional = key: (typeOf key).name == "nullOr";

  # prefixes without a sensible default have none: to leave them out is a mistake
  required = [ "agent.enrich.prefix[].prefix" ];

  optionOf = key:
    lib.mkOption ({
      type = typeOf key;
      inherit (key) description;
    } // (
      if builtins.elem key.path required then { example = key.default; }
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
        else if key != null && !(builtins.elem path required) then key.shipped || optional key || v != key.default
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
if strangers != [ ] then throw "nixos/types.nix: not in config/rfm.toml: ${concatStringsSep ", " strangers}"
else {
  inherit keys;
  options = tree (map (key: { inherit key; rest = parts key.path; }) keys);
  effective = effective "";
}
