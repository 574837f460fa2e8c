# SPDX-License-Identifier: AGPL-3.0-only
{
  description = "rfm, the Router Flow Monitor";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs = { self, nixpkgs }:
    let
      systems = [ "x86_64-linux" "aarch64-linux" ];
      forEach = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
      packageFor = pkgs: pkgs.callPackage ./nixos/package.nix { revision = self.shortRev or self.dirtyShortRev or ""; };
    in
    {
      packages = forEach (pkgs: rec {
        rfm = packageFor pkgs;
        default = rfm;
      });

      nixosModules.default = { pkgs, lib, ... }: {
        imports = [ ./nixos/module.nix ];
        services.rfm.package = lib.mkDefault (packageFor pkgs);
      };

      checks = forEach (pkgs: {
        package = packageFor pkgs;
        vm = pkgs.testers.runNixOSTest {
          imports = [ ./nixos/tests/rfm.nix ];
          defaults.imports = [ self.nixosModules.default ];
        };
      });
    };
}
