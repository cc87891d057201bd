#include "support/ports.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <list>
#include <random>
#include <stdexcept>

namespace holdfast::test {

namespace {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;

// Below the ports that Linux gives out (net.ipv4.ip_local_port_range is 32768 to 60999 by default).
constexpr unsigned short first_port = 20000;
constexpr unsigned short last_port = 32000;

/// A socket without SO_REUSEADDR keeps others from binding its port, and one that does not listen refuses.
struct bound_socket {
    asio::io_context io;
    tcp::socket socket{io, tcp::v4()};

    explicit bound_socket(unsigned short port) {
        socket.bind(tcp::endpoint(asio::ip::address_v4::loopback(), port));
    }
};

bool is_free(unsigned short port) {
    asio::io_context io;
    tcp::socket socket(io, tcp::v4());
    boost::system::error_code taken;
    socket.bind(tcp::endpoint(asio::ip::address_v4::loopback(), port), taken);
    return !taken;
}

} // namespace

unsigned short free_port() {
    std::random_device random;
    std::uniform_int_distribution<unsigned short> ports(first_port, last_port);
    for (int tries = 0; tries < 100; ++tries) {
        const auto port = ports(random);
        if (is_free(port))
            return port;
    }
    throw std::runtime_error("no free port among 20000 to 32000");
}

unsigned short dead_port() {
    static std::list<bound_socket> held;
    return held.emplace_back(0).socket.local_endpoint().port();
}

std::string dead_url() {
    return "http://127.0.0.1:" + std::to_string(dead_port()) + "/";
}

} // namespace holdfast::test
