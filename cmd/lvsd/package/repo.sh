#!/bin/sh
# Repositories of bin/packages in bin/repo: apt/ for apt (suite stable, component main),
# yum/ for dnf and yum, and lvsd.gpg, the key that both are signed with. KEY names it.
# Needs apt-ftparchive (apt-utils), createrepo_c and gpg.
set -e
[ -n "$KEY" ] || { echo 'name the key that signs: make repo KEY=ID' >&2; exit 1; }
ls bin/packages/*.deb bin/packages/*.rpm >/dev/null
rm -rf bin/repo
mkdir -p bin/repo/apt/pool bin/repo/yum
cp bin/packages/*.deb bin/repo/apt/pool/
cp bin/packages/*.rpm bin/repo/yum/
gpg --batch --export "$KEY" >bin/repo/lvsd.gpg

cd bin/repo/apt
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
createrepo_c --quiet .
gpg --batch --yes --local-user "$KEY" --armor --detach-sign repodata/repomd.xml
echo "bin/repo: $(ls ../apt/pool | wc -l) deb, $(ls ./*.rpm | wc -l) rpm"
