// The library with real sockets and clocks, one coroutine at a time, within a deadline.
#pragma once

#include <holdfast/runtime/runtime.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/test/unit_test.hpp>

#include <chrono>
#include <exception>
#include <optional>
#include <utility>

namespace holdfast::test {

struct in_the_real_world {
    net::io_context io;
    runtime rt{io.get_executor()};

    /// What `body` returns or throws. What else runs on `io` goes on meanwhile, and rests afterwards.
    template <class T>
    T run(net::awaitable<T> body) {
        std::optional<T> value;
        std::exception_ptr error;
        bool done = false;
        net::co_spawn(io, std::move(body), [&](std::exception_ptr e, T v) {
            done = true;
            error = e;
            if (!e)
                value.emplace(std::move(v));
            io.stop();
        });
        io.restart();
        io.run_for(std::chrono::seconds(20));
        BOOST_TEST_REQUIRE(done, "stuck");
        if (error)
            std::rethrow_exception(error);
        return std::move(*value);
    }
};

} // namespace holdfast::test
