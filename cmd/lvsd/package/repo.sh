#!/bin/sh
# Repositories of bin/packages in bin/repo, or $REPO: apt/ for apt (suite stable, component
# main), yum/ for dnf and yum, and lvsd.asc, the key that both are signed with. KEY names it.
# Needs apt-ftparchive (apt-utils), createrepo_c, rpmsign (rpm) and gpg.
set -e
[ -n "$KEY" ] || { echo 'name the key that signs: make repo KEY=ID' >&2; exit 1; }
ls bin/packages/*.deb bin/packages/*.rpm >/dev/null
repo=${REPO:-bin/repo}
rm -rf "$repo"
mkdir -p "$repo/apt/pool" "$repo/yum"
cp bin/packages/*.deb "$repo/apt/pool/"
cp bin/packages/*.rpm "$repo/yum/"
gpg --batch --armor --export "$KEY" >"$repo/lvsd.asc"

cd "$repo/apt"
architectures=
for arch in amd64 arm64; do
	ls pool/*_"$arch".deb >/dev/null 2>&1 || continue
	architectures="$architectures $arch"
	folder=dists/stable/main/binary-$arch
	mkdir -p "$folder"
	apt-ftparchive --arch "$arch" packages pool >"$folder/Packages"
	gzip -9nk "$folder/Packages"
done
apt-ftparchive -o APT::FTPArchive::Release::Origin=lvsd -o APT::FTPArchive::Release::Label=lvsd \
	-o APT::FTPArchive::Release::Suite=stable -o APT::FTPArchive::Release::Codename=stable \
	-o APT::FTPArchive::Release::Components=main -o "APT::FTPArchive::Release::Architectures=${architectures# }" \
	release dists/stable >../Release
mv ../Release dists/stable/Release
gpg --batch --yes --local-user "$KEY" --clearsign --output dists/stable/InRelease dists/stable/Release
gpg --batch --yes --local-user "$KEY" --armor --detach-sign --output dists/stable/Release.gpg dists/stable/Release

cd ../yum
rpmsign --define "__gpg $(command -v gpg)" --define "_gpg_name $KEY" --addsign ./*.rpm >/dev/null
createrepo_c --quiet .
gpg --batch --yes --local-user "$KEY" --armor --detach-sign repodata/repomd.xml
echo "$repo: $(ls ../apt/pool | wc -l) deb, $(ls ./*.rpm | wc -l) rpm"
