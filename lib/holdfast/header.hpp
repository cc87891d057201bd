// One field of an HTTP message: what a caller adds to a request, and what a server said. Needs no Asio.
#pragma once

#include <string>
#include <utility>

namespace holdfast {

/// Constructors, here and in other structs of the public headers, keep them from being aggregates: g++ 12
/// destroys the temporaries of an aggregate twice where its initializer has a co_await.
struct header {
    header() = default;
    header(std::string n, std::string v) : name(std::move(n)), value(std::move(v)) {}

    std::string name;
    std::string value;

    friend bool operator==(const header&, const header&) = default;
};

namespace http {
using holdfast::header;
}

} // namespace holdfast
