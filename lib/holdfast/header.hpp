// One field of an HTTP message: what a caller adds to a request, and what a server said. Needs no Asio.
#pragma once

#include <string>

namespace holdfast {

struct header {
    std::string name;
    std::string value;

    friend bool operator==(const header&, const header&) = default;
};

namespace http {
using holdfast::header;
}

} // namespace holdfast
