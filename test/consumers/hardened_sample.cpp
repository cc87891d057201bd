// The least program in which each kind of hardening has something to do: it is compiled and linked as the
// command is.
#include <cstdio>
#include <cstring>

int main(int argc, char** argv) {
    char name[64];
    std::strcpy(name, argc > 1 ? argv[1]
                               : "nobody"); // a checked call: how much fits is known, how much comes is not
    char line[128];
    return std::snprintf(line, static_cast<std::size_t>(argc) * 64, "for %s\n", name) > 0 &&
                   std::puts(line) >= 0
               ? 0
               : 1;
}
