# process.py as a container: python, Pillow, tqdm and the C library, and nothing else; no shell, no pip, not root.
# Builds with the classic builder and with BuildKit alike, so: no RUN --mount, no heredocs.

FROM debian:trixie-slim AS builder

# Settings of the machine that builds, where it needs any (a proxy's CA, a package index): provision/registry/build.py puts
# them into build-settings/ beside this file: as a pattern, for it may not be there. They end with this stage.
COPY requirements/image.txt build-setting[s] /settings/
ENV PIP_CONFIG_FILE=/settings/pip.conf PYTHONDONTWRITEBYTECODE=1 PACKAGES=usr/local/lib/python3.13/dist-packages

# Debian's packages are unpacked, not installed: Python both here, where pip needs it, and in /rootfs, which becomes
# the image. Their names and versions stay there for those who scan images for known holes.
RUN set -eu; \
    if [ -f /settings/apt.conf ]; then cp /settings/apt.conf /etc/apt/apt.conf.d/90settings; fi; \
    apt-get update -qq; \
    fetch() { mkdir -p "/debs/$1"; cd "/debs/$1"; shift; apt-get download -qq -o APT::Sandbox::User=root "$@"; }; \
    fetch pip ca-certificates python3-pip-whl; \
    fetch python libexpat1 libffi8 libpython3.13-minimal libpython3.13-stdlib python3.13-minimal; \
    fetch libraries gcc-14-base libbz2-1.0 libc6 libgcc-s1 liblzma5 libstdc++6 zlib1g; \
    for deb in /debs/pip/* /debs/python/*; do dpkg-deb -x "$deb" /; done; \
    mkdir -p /rootfs/var/lib/dpkg/status.d; \
    for deb in /debs/python/* /debs/libraries/*; do \
        dpkg-deb -x "$deb" /rootfs; \
        dpkg-deb -f "$deb" >"/rootfs/var/lib/dpkg/status.d/$(dpkg-deb -f "$deb" Package)"; \
    done; \
    mkdir -p /etc/ssl/certs; \
    cat /usr/share/ca-certificates/mozilla/*.crt >/etc/ssl/certs/ca-certificates.crt; \
    rm -r /debs /var/lib/apt/lists

# Without what only works with a library that isn't here (OpenSSL, SQLite, ncurses) or has nobody to use it
# (gconv is iconv's: Python has its own codecs).
# Compiled ahead, and never compared with the sources at run time: a container starts for every batch.
RUN set -eu; \
    cd /rootfs; \
    for dir in lib lib64; do if [ -L "/$dir" ] && [ ! -e "$dir" ]; then ln -s "usr/$dir" "$dir"; fi; done; \
    find etc usr/bin usr/share -depth -mindepth 1 ! -name python3.13 ! -path 'usr/share/doc/*/copyright' ! -type d -delete; \
    find etc usr/share -depth -mindepth 1 -type d -empty -delete; \
    rm -r usr/lib/*-linux-gnu/gconv; \
    ln -s python3.13 usr/bin/python3; \
    (cd usr/lib/python3.13; rm -r _pyrepl curses pydoc_data sqlite3 test turtle.py); \
    (cd usr/lib/python3.13/lib-dynload; rm _curses* _dbm* _hashlib* _sqlite3* _ssl* _uuid* readline* *_test* _xxtest*); \
    mkdir -p -m 1777 tmp; \
    cp -L /etc/os-release etc/; \
    printf '%s\n' root:x:0:0::/:/sbin/nologin nonroot:x:65532:65532::/tmp:/sbin/nologin >etc/passwd; \
    printf '%s\n' root:x:0: nonroot:x:65532: >etc/group; \
    python3.13 -m compileall -q -j 0 --invalidation-mode unchecked-hash -s /rootfs -p / \
        /rootfs/usr/lib/python3.13; \
    find . -exec touch -h -d @0 {} +

RUN set -eu; \
    if [ -f /settings/ca.pem ]; then export PIP_CERT=/settings/ca.pem; fi; \
    PYTHONPATH=$(echo /usr/share/python-wheels/pip-*.whl) python3.13 -m pip install --quiet --require-hashes --no-deps \
        --only-binary :all: --no-compile --no-cache-dir --disable-pip-version-check --root-user-action ignore \
        --target /site/$PACKAGES --requirement /settings/image.txt; \
    rm -r /site/$PACKAGES/bin; \
    python3.13 -m compileall -q -j 0 --invalidation-mode unchecked-hash -s /site -p / /site; \
    find /site -exec touch -h -d @0 {} +

COPY imaging /imaging/app/imaging
RUN set -eu; \
    find /imaging ! -name '*.py' ! -type d -delete; \
    find /imaging -depth -type d -empty -delete; \
    chmod -R u=rwX,go=rX /imaging; \
    python3.13 -m compileall -q --invalidation-mode unchecked-hash -s /imaging -p / /imaging; \
    find /imaging -exec touch -h -d @0 {} +

COPY process.py /program/app/
RUN set -eu; \
    chmod 644 /program/app/process.py; \
    python3.13 -m compileall -q --invalidation-mode unchecked-hash -s /program -p / /program; \
    find /program -exec touch -h -d @0 {} +


FROM scratch

ARG VERSION=0.1.0
ARG CREATED=
ARG REVISION=
LABEL org.opencontainers.image.title="fanrun process" \
      org.opencontainers.image.description="Rotates every image of one folder into another: [ARGS] INPUT OUTPUT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.revision="${REVISION}"

ENV PATH=/usr/bin LANG=C.UTF-8 HOME=/tmp PYTHONPATH=/app PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# Any other uid does as well; the image owns nothing that it would need to write.
USER 65532:65532
# As a module: so its compiled form is used.
ENTRYPOINT ["/usr/bin/python3", "-m", "process"]

# From what changes seldom to what changes often: an edit of process.py ships its own small layer only. All dates are
# the same, so that builds of the same things are the same layers, which a registry and a host keep once.
COPY --from=builder /rootfs /
COPY --from=builder /site /
COPY --from=builder /imaging /
COPY --from=builder /program /
