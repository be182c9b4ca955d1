#!/usr/bin/env bash
# llama-server.sh prints the path of a llama-server (the HTTP server of llama.cpp) and builds one if there is none.
#
# The first that holds: $LLAMA_SERVER, llama-server on PATH, the project's own build in the user's cache folder.
# Only the path goes to stdout, everything else to stderr.
#
# The own build takes llama.cpp's libraries ready-made from npm (they choose the best of many CPU variants at run time)
# and compiles only the server against them, in minutes instead of a quarter of an hour; docs/decisions/0002 has the reasons.
# It may be interrupted, repeated (what is compiled stays compiled) and started twice at once.
#
# LLAMA_BACKEND=vulkan or LLAMA_BACKEND=cuda adds that backend to the own build, on x86-64. It needs the GPU's driver, and for
# vulkan the package libvulkan1, for cuda the CUDA 13 runtime with cuBLAS; without them the CPU does the work as before.
set -euo pipefail

# The next release: set the npm version, the llama.cpp version it carries (package/llama/binariesGithubRelease.json inside),
# and what `npm view PACKAGE@VERSION dist.integrity` prints for each package.
npm_version=3.22.1
version=v0.5.0
integrity() {
	case $1 in
	node-llama-cpp) echo sha512-bltIipuWmc123H7tMIgDGKSsSrhmhlQYeVUC48XTjVW7XGJJiJJyCdlTMzQ/LiWoPkGDpcL4FviDpgw7qfTiDw== ;;
	@node-llama-cpp/linux-x64) echo sha512-5uCCDNqWCNfaAm8aR/Uzxbo4HBpKgNF91kCHPepKhgMgV2OAmatoefbOlMihsqCiH2Od35E/eUHQCFbfRBJuOg== ;;
	@node-llama-cpp/linux-arm64) echo sha512-W+7naKCXX9/eEjjFmRS8vvx91QyLXDbeFxexZc3bh/PtQABZgmRL3C0AtYYXn4YGTj/3Qor4lWZn2tpjZFPLdQ== ;;
	@node-llama-cpp/linux-x64-vulkan) echo sha512-bBxqU+JOcBu1nb5Qj2zcMci+JByT1E8EajHvYodyNfVIPkEhXh+/HMwR1/BT7xP08YK0hks+kM8fglER0P8JEg== ;;
	@node-llama-cpp/linux-x64-cuda) echo sha512-8rQCjyNNLZJUFit+YpjwlC4hwkKgOMIkB2wuycKBf8NU2O3ySKbiWZQ8aw9ku2nUTXjSnUIrE6KB88itduTBuA== ;;
	esac
}

say() { printf 'llama-server: %s\n' "$*" >&2; }
die() {
	say "$@"
	exit 1
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${XDG_CACHE_HOME:-${HOME:?is not set, and neither is XDG_CACHE_HOME}/.cache}/llmgateway/llama.cpp
dest=$root/$version
work=$root/build-$version

main() {
	if [ -n "${LLAMA_SERVER:-}" ]; then
		[ -x "$LLAMA_SERVER" ] || die "LLAMA_SERVER=$LLAMA_SERVER is not an executable file; correct it, or unset it to get a build"
		echo "$LLAMA_SERVER"
	elif command -v llama-server; then
		: # its path is printed
	else
		[ -x "$dest/llama-server" ] || build
		[ -z "${LLAMA_BACKEND:-}" ] || [ -e "$dest/libggml-$LLAMA_BACKEND.so" ] || add_backend
		echo "$dest/llama-server"
	fi
}

build() {
	local system
	system=$(uname -s)-$(uname -m)
	case $system in
	Linux-x86_64) libs=linux-x64 ;;
	Linux-aarch64) libs=linux-arm64 ;;
	*) die "there are no ready-made libraries for $system; please install llama.cpp and set LLAMA_SERVER to its llama-server" ;;
	esac

	enter_work
	if [ -x "$dest/llama-server" ]; then
		leave_work
		return
	fi

	say "building llama.cpp $version in $work, once; about two minutes on two cores"
	"$here/need.sh" git g++ npm
	mkdir -p obj
	fetch "@node-llama-cpp/$libs" prebuilt
	fetch node-llama-cpp node-llama-cpp
	if [ ! -e src/.complete ]; then
		rm -rf src
		git -c advice.detachedHead=false clone -q node-llama-cpp/llama/gitRelease.bundle src
		touch src/.complete
	fi
	write_ui
	compile_all
	install_all
}

# add_backend puts a GPU's backend beside the CPU's, where llama-server looks for backends when it starts.
add_backend() {
	local backend=libggml-$LLAMA_BACKEND.so
	case $(uname -m)-$LLAMA_BACKEND in
	x86_64-vulkan | x86_64-cuda) ;;
	*) die "LLAMA_BACKEND=$LLAMA_BACKEND cannot be had here; it is vulkan or cuda, on x86-64" ;;
	esac
	enter_work
	if [ ! -e "$dest/$backend" ]; then
		"$here/need.sh" npm
		fetch "@node-llama-cpp/linux-x64-$LLAMA_BACKEND" "$LLAMA_BACKEND"
		cp "$LLAMA_BACKEND"/bins/*/"$backend" "$dest/$backend.part"
		mv "$dest/$backend.part" "$dest/$backend"
	fi
	leave_work
	say "$("$dest/llama-server" --list-devices 2>/dev/null)"
}

# enter_work makes the work folder the current one, and this process the only one in it.
enter_work() {
	mkdir -p "$root"
	exec 9>"$work.lock"
	if ! flock -n 9; then
		say "waiting for another build in $work"
		flock 9
	fi
	mkdir -p "$work"
	cd "$work"
}

# leave_work removes the work folder, when nothing in it is needed any more.
leave_work() {
	cd "$root"
	rm -rf "$work"
	exec 9>&-
}

# fetch downloads a package with npm, checks it, and unpacks it into a folder.
fetch() {
	local package=$1 folder=$2 got want
	[ ! -e "$folder/.complete" ] || return 0
	say "fetching $package@$npm_version from the npm registry"
	rm -rf "$folder" "$folder.tgz" download
	mkdir download "$folder"
	npm pack --silent --ignore-scripts --pack-destination download "$package@$npm_version" >/dev/null </dev/null ||
		die "npm could not fetch $package@$npm_version; see 'npm config get registry', or set LLAMA_SERVER to a llama-server of yours"
	mv download/*.tgz "$folder.tgz"
	# The registry's form of a hash is base64; sha512sum's is hexadecimal.
	got=sha512-$(printf '%b' "$(sha512sum <"$folder.tgz" | cut -d' ' -f1 | sed 's/../\\x&/g')" | base64 -w0)
	want=$(integrity "$package")
	[ "$got" = "$want" ] || die "$package@$npm_version is not the file that was pinned: got $got, want $want"
	tar -xzf "$folder.tgz" -C "$folder" --strip-components=1 --no-same-owner
	rm -rf download "$folder.tgz"
	touch "$folder/.complete"
}

# write_ui writes what llama.cpp's build generates for a server without its web page.
write_ui() {
	mkdir -p ui
	sed -e '/#cmakedefine/d' -e 's/@N_ASSETS@/0/' src/tools/ui/ui.h.in >ui/ui.h
	sed -e 's/@N_ASSETS@/0/' -e 's/@USE_GZIP@/false/' -e '/@ASSET_/d' src/tools/ui/ui.cpp.in >ui/ui.cpp
}

compile_all() {
	local sources jobs memory total
	# The longest files first, so that no core is idle at the end.
	sources=$(find src/tools/server src/tools/mtmd src/vendor/cpp-httplib src/vendor/hash ui \( -name '*.cpp' -o -name '*.c' \) \
		! -path '*/tests/*' ! -path '*/debug/*' ! -path '*/legacy-models/*' ! -name mtmd-cli.cpp ! -name deprecation-warning.cpp \
		-printf '%s %p\n' | sort -rn | cut -d' ' -f2)
	total=$(wc -l <<<"$sources")
	# A compiler takes up to a gigabyte for one of the larger files.
	memory=$(awk '/^MemAvailable/ {print int($2 / 1048576)}' /proc/meminfo)
	jobs=$(nproc)
	[ "$jobs" -le "$memory" ] || jobs=$((memory > 1 ? memory : 1))
	export -f compile
	nl -w1 -s"/$total " <<<"$sources" | xargs -P "$jobs" -L1 bash -c 'compile "$@"' compile ||
		die "the compiler failed, see above; the rest stays in $work for another try"
}

# compile makes one object file. The prebuilt libraries were made with LLAMA_SUBPROCESS, which changes the layout of classes
# in common/; MTMD_VIDEO stays off, because it hands bytes of strangers to ffmpeg.
compile() {
	local number=$1 source=$2 object flags
	object=obj/${source//\//.}.o
	[ ! -e "$object" ] || return 0
	printf '[%s] %s\n' "$number" "${source#src/}" >&2
	flags=(-O1 -fPIC -pthread -w -DNDEBUG -DLLAMA_SHARED -DGGML_SHARED -DGGML_BACKEND_SHARED -DLLAMA_SUBPROCESS)
	for folder in include ggml/include vendor vendor/hash common src tools/mtmd tools/server; do
		flags+=("-Isrc/$folder")
	done
	flags+=(-Isrc -Iui)
	case $source in
	*/httplib.cpp) flags+=(-DCPPHTTPLIB_FORM_URL_ENCODED_PAYLOAD_MAX_LENGTH=1048576 -DCPPHTTPLIB_LISTEN_BACKLOG=512
		-DCPPHTTPLIB_REQUEST_URI_MAX_LENGTH=32768 -DCPPHTTPLIB_TCP_NODELAY=1) ;;
	esac
	case $source in
	*/sha1.c) flags+=(-x c++ -std=c++17) ;; # its header opens a namespace
	*.c) flags+=(-x c) ;;
	*) flags+=(-std=c++17) ;;
	esac
	# 255 tells xargs to start no more.
	g++ "${flags[@]}" -c "$source" -o "$object.part" && mv "$object.part" "$object" || return 255
}

# install_all links beside the destination and moves the finished folder there in one step.
install_all() {
	local new=$work/new bins=prebuilt/bins/$libs
	local LC_ALL=C # the order in which * finds objects, and so the program, is the same everywhere
	rm -rf "$new"
	mkdir "$new"
	cp "$bins"/*.so src/LICENSE "$new"
	say "linking"
	g++ -s -pthread -o "$new/llama-server" obj/*.o "$new"/libllama.*.so "$new/libllama-common.so" "$new"/libggml.*.so \
		"$new/libggml-base.so" -ldl -Wl,-rpath,"\$ORIGIN" ||
		die "the linker failed, see above; remove $work to start from the beginning"
	"$new/llama-server" --version >/dev/null 2>"$work/version" ||
		die "the new llama-server does not start: $(cat "$work/version")"
	rm -rf "$dest"
	mv "$new" "$dest"
	leave_work
	say "ready: $dest/llama-server"
}

main
