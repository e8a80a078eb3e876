# The short way in; CMake does the work (see CMakePresets.json).
#
#   make             build into build/
#   make draw        install what is missing, build, draw a picture
#   make test        build and run all tests
#   make sanitize    the same tests under the address and undefined-behaviour sanitizers
#   make emoji-model train the bundled model, from nothing; Ctrl-C saves, the same again goes on (see tools/emoji/train.sh;
#                    MINUTES=60: a limit for each part; PUBLISH=1: put the result into models/emoji)
#   make upscaler    train the bundled upscaler alone, the same way
#   make gallery     sheets of what the bundled model does with pictures, into docs/
#   make bench       measure the engine on this machine
#   make fuzz        a short run of every fuzz target (SECONDS_EACH=20)
#   make checks      floors, limits, headers, symbols, formatting
#   make tidy        clang-tidy
#   make format      clang-format, in place
#   make install     into PREFIX (/usr/local), below DESTDIR when given
#
# JOBS: how many compilers at once.

JOBS   ?= $(shell nproc)
PREFIX ?= /usr/local
BUILD  ?= build

# The bundled model; name another one: make draw MODEL=models/sd15
MODEL  ?= models/emoji
PROMPT ?= a red apple on a blue background
OUT    ?= picture.png
SECONDS_EACH ?= 20

SOURCES = $(shell git ls-files '*.c' '*.h')

.PHONY: all configure draw test sanitize emoji-model upscaler gallery bench fuzz checks tidy format install clean packages

all: configure
	cmake --build $(BUILD) -j $(JOBS)

configure: packages
	@test -f $(BUILD)/build.ninja || \
	    cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=$(PREFIX)

packages:
	@tools/install-packages.sh

draw: configure
	cmake --build $(BUILD) -j $(JOBS) --target kiln_command
	KILN_DATA=data $(BUILD)/kiln draw "$(PROMPT)" --model "$(MODEL)" --seed 1 -o "$(OUT)"
	@echo "the picture is at $(abspath $(OUT))"

test: all
	ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS)

sanitize: packages
	@test -f build-sanitize/build.ninja || cmake --preset sanitize
	cmake --build build-sanitize -j $(JOBS)
	ctest --test-dir build-sanitize --output-on-failure -j $(JOBS)

emoji-model: packages
	@BUILD=$(BUILD) tools/emoji/train.sh

upscaler: packages
	@BUILD=$(BUILD) PARTS=upscaler tools/emoji/train.sh

gallery: configure
	cmake --build $(BUILD) -j $(JOBS) --target kiln_command gallery_sheet
	rm -rf $(BUILD)/gallery
	BUILD=$(BUILD) tools/gallery/gallery.sh

bench: all
	$(BUILD)/bench/bench
	$(BUILD)/bench/bench_teach

fuzz:
	@tools/install-packages.sh --checks
	@tools/fuzz.sh $(SECONDS_EACH) $(JOBS)

checks:
	@tools/check.sh

tidy: configure
	@tools/install-packages.sh --checks
	@tools/tidy.sh $(BUILD) $(JOBS)

format:
	clang-format -i $(SOURCES)

install: all
	cmake --install $(BUILD) --prefix $(PREFIX)

clean:
	rm -rf build build-debug build-sanitize build-fuzz
