# As much of nixpkgs' lib as the module uses, so that it can be evaluated where nixpkgs is not: types that check, and
# options that fill in defaults and refuse what has no option.
# SPDX-License-Identifier: AGPL-3.0-only
let
  inherit (builtins) all attrNames attrValues elem filter hasAttr isAttrs isBool isInt isList isString listToAttrs map mapAttrs;

  type = name: check: fill: { _type = "option-type"; inherit name check fill; };
  plain = name: check: type name check (path: value: value);
  between = low: high: plain "int" (v: isInt v && v >= low && v <= high);
in
rec {
  mkOption = attrs: attrs // { _type = "option"; };
  mkEnableOption = what: mkOption { type = types.bool; default = false; description = "Whether to enable ${what}."; };
  mkIf = condition: content: if condition then content else { };
  mkDefault = value: value;
  literalExpression = text: text;
  recursiveUpdate = left: right:
    if isAttrs left && isAttrs right
    then left // mapAttrs (name: value: if hasAttr name left then recursiveUpdate left.${name} value else value) right
    else right;
  optional = condition: value: if condition then [ value ] else [ ];
  getExe = package: "${package}/bin/rfm";

  types = {
    bool = plain "bool" isBool;
    str = plain "str" isString;
    package = plain "package" isString;
    port = between 0 65535;
    ints = {
      inherit between;
      positive = between 1 9223372036854775807;
      u32 = between 0 4294967295;
    };
    enum = values: plain "enum" (v: elem v values);
    either = left: right: type "either" (v: left.check v || right.check v) (path: v: if left.check v then left.fill path v else right.fill path v);
    nullOr = inner: type "nullOr" (v: v == null || inner.check v) (path: v: if v == null then null else inner.fill path v);
    listOf = inner: type "listOf" (v: isList v && all inner.check v) (path: map (inner.fill path));
    attrsOf = inner: type "attrsOf" (v: isAttrs v && all inner.check (attrValues v)) (path: mapAttrs (_: inner.fill path));
    submodule = module: type "submodule" isAttrs (path: value: fillIn path module.options value);
  };

  # options and what was set → every option's value; a mistake is thrown with its path
  fillIn = path: options: set:
    let
      strangers = filter (name: !hasAttr name options) (attrNames set);
      value = name:
        let option = options.${name}; here = "${path}.${name}"; in
        if (option._type or "") != "option" then fillIn here option (set.${name} or { })
        else
          let given = set.${name} or (option.default or (throw "${here} is not set and has no default")); in
          if option.type.check given then option.type.fill here given
          else throw "${here} is no ${option.type.name}";
    in
    if strangers != [ ] then throw "${path}.${builtins.head strangers} does not exist"
    else listToAttrs (map (name: { inherit name; value = value name; }) (attrNames options));
}
