#include <holdfast/sse/parser.hpp>

#include <string_view>

int main() {
    holdfast::sse::parser parser;
    std::string_view bytes = "data: hello\n\n";
    return parser.next(bytes) && parser.event().data == "hello" ? 0 : 1;
}
