// TLS over memory: the library's side against OpenSSL's server side, without a socket between them.
#include <boost/test/unit_test.hpp>

#include "support/certificates.hpp"
#include "support/coroutine.hpp"

#include <holdfast/http/exchange.hpp>
#include <holdfast/http/tls.hpp>
#include <holdfast/runtime/condition_variable.hpp>
#include <holdfast/runtime/task_scope.hpp>
#include <holdfast/runtime/with_deadline.hpp>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

using namespace holdfast;
using http::make_tls_context;
using http::start_tls;
using http::tls_options;
using test::certificate_authority;
using test::certificate_request;

namespace {

/// How a server shows itself, and to whom.
struct server_setup {
    certificate_authority::files shown;
    std::string wants_clients_of; ///< a CA file: without a certificate of its own a client is refused
    int newest = TLS1_3_VERSION;
};

/// OpenSSL's server side, fed and read in memory. It answers each request of one line by the line, backwards.
class tls_server {
public:
    explicit tls_server(const server_setup& how) : context_(SSL_CTX_new(TLS_server_method()), SSL_CTX_free) {
        SSL_CTX_set_security_level(context_.get(), 0); // old versions too, to see them refused
        SSL_CTX_set_min_proto_version(context_.get(), TLS1_VERSION);
        SSL_CTX_set_max_proto_version(context_.get(), how.newest);
        BOOST_TEST_REQUIRE(
            SSL_CTX_use_certificate_chain_file(context_.get(), how.shown.certificate.c_str()) == 1);
        BOOST_TEST_REQUIRE(
            SSL_CTX_use_PrivateKey_file(context_.get(), how.shown.key.c_str(), SSL_FILETYPE_PEM) == 1);
        if (!how.wants_clients_of.empty()) {
            SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
            BOOST_TEST_REQUIRE(SSL_CTX_load_verify_file(context_.get(), how.wants_clients_of.c_str()) == 1);
        }
        session_.reset(SSL_new(context_.get()));
        in_ = BIO_new(BIO_s_mem());
        out_ = BIO_new(BIO_s_mem());
        BIO_set_mem_eof_return(in_, -1);
        SSL_set_bio(session_.get(), in_, out_);
        SSL_set_accept_state(session_.get());
    }

    void receive(std::string_view bytes) {
        BIO_write(in_, bytes.data(), static_cast<int>(bytes.size()));
        char line[4096];
        for (int size; (size = SSL_read(session_.get(), line, sizeof line)) > 0;) {
            received.append(line, static_cast<std::size_t>(size));
            std::reverse(line, line + size);
            SSL_write(session_.get(), line, size);
        }
        ERR_clear_error();
    }

    void say(std::string_view bytes) {
        SSL_write(session_.get(), bytes.data(), static_cast<int>(bytes.size()));
    }
    void close_notify() { SSL_shutdown(session_.get()); }
    void new_keys() { SSL_key_update(session_.get(), SSL_KEY_UPDATE_REQUESTED); }
    [[nodiscard]] std::string server_name() const {
        const char* const name = SSL_get_servername(session_.get(), TLSEXT_NAMETYPE_host_name);
        return name ? name : "";
    }

    [[nodiscard]] std::string take(std::size_t most) {
        std::string bytes(std::min<std::size_t>(most, BIO_ctrl_pending(out_)), '\0');
        if (!bytes.empty())
            BIO_read(out_, bytes.data(), static_cast<int>(bytes.size()));
        return bytes;
    }

    std::string received;

private:
    std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_;
    std::unique_ptr<SSL, decltype(&SSL_free)> session_{nullptr, SSL_free};
    BIO* in_ = nullptr;
    BIO* out_ = nullptr;
};

/// What lies between them.
struct wire_state {
    explicit wire_state(runtime& rt) : changed(rt) {}
    std::size_t slice = 64 * 1024;
    std::string plain;  ///< said instead of TLS
    bool ended = false; ///< FIN after what is there
    bool mute = false;  ///< nothing arrives
    bool closed = false;
    std::optional<tls_server> server;
    condition_variable changed;
};

class wire final : public connection {
public:
    explicit wire(std::shared_ptr<wire_state> state) : state_(std::move(state)) {}
    ~wire() override { close(); }

    net::awaitable<result<std::size_t>> read_some(net::mutable_buffer into) override {
        const auto state = state_;
        for (;;) {
            if (state->closed)
                co_return retry::make_failure(errc::closed, {}, true);
            const auto most = std::min(into.size(), state->slice);
            std::string bytes = std::exchange(state->plain, {});
            if (bytes.empty() && state->server && !state->mute)
                bytes = state->server->take(most);
            if (!bytes.empty()) {
                std::memcpy(into.data(), bytes.data(), bytes.size());
                co_return bytes.size();
            }
            if (state->ended)
                co_return std::size_t(0);
            co_await state->changed.wait();
        }
    }

    net::awaitable<result<void>> write(std::string_view bytes) override {
        if (state_->closed)
            co_return retry::make_failure(errc::closed, {}, true);
        if (state_->server)
            state_->server->receive(bytes);
        state_->changed.notify_all();
        co_return result<void>();
    }

    void close() noexcept override {
        state_->closed = true;
        state_->changed.notify_all();
    }

private:
    std::shared_ptr<wire_state> state_;
};

struct tls_world : test::in_simulated_world {
    runtime& rt = world.rt();
    certificate_authority authority;
    server_setup setup;
    tls_options options;
    std::string host = "server.test";
    std::shared_ptr<wire_state> line = std::make_shared<wire_state>(rt);

    tls_world() { options.ca_file = authority.file(); }

    void show(certificate_request what) { setup.shown = authority.sign(what); }

    net::awaitable<result<std::unique_ptr<connection>>> connect() {
        if (setup.shown.certificate.empty())
            show({});
        line->server.emplace(setup);
        auto context = make_tls_context(options);
        BOOST_TEST_REQUIRE(context.has_value());
        auto made = co_await start_tls(std::make_unique<wire>(line), *context, host);
        co_return made;
    }

    net::awaitable<std::string> ask(connection& with, std::string question) {
        const auto sent = co_await with.write(question);
        BOOST_TEST_REQUIRE(sent.has_value());
        std::string answer;
        while (answer.size() < question.size()) {
            char bytes[1000];
            const auto got = co_await with.read_some(net::buffer(bytes));
            BOOST_TEST_REQUIRE(got.has_value());
            BOOST_TEST_REQUIRE(*got != 0u);
            answer.append(bytes, *got);
        }
        co_return answer;
    }

    net::awaitable<failure> refused() {
        const auto made = co_await connect();
        BOOST_TEST_REQUIRE(!made.has_value());
        co_return made.error();
    }

    net::awaitable<void> check_refused(std::string why) {
        const auto how = co_await refused();
        BOOST_TEST((how.code == error_code(errc::tls_failed)), how.message);
        BOOST_TEST((how.cls == failure_class::tls));
        BOOST_TEST(how.message.find(why) != std::string::npos, how.message);
        BOOST_TEST(line->closed);
    }

    net::awaitable<void> check_accepted() {
        auto made = co_await connect();
        BOOST_TEST_REQUIRE(made.has_value(), made.error().message);
        const auto answer = co_await ask(**made, "hello");
        BOOST_TEST(answer == "olleh");
    }
};

} // namespace

CO_TEST_CASE(what_is_written_arrives_and_what_is_answered_is_read, tls_world) {
    co_await check_accepted();
    BOOST_TEST(line->server->received == "hello");
    BOOST_TEST(line->server->server_name() == "server.test");
}

CO_TEST_CASE(bytes_may_come_one_at_a_time, tls_world) {
    line->slice = 1;
    co_await check_accepted();
}

CO_TEST_CASE(much_goes_through_in_both_directions, tls_world) {
    auto made = co_await connect();
    std::string much(1 << 20, 'x');
    for (std::size_t i = 0; i < much.size(); ++i)
        much[i] = static_cast<char>('a' + i * i % 23);
    const auto answer = co_await ask(**made, much);
    BOOST_TEST(answer.size() == much.size());
    BOOST_TEST((line->server->received == much));
}

CO_TEST_CASE(new_keys_in_the_middle_are_agreed_upon, tls_world) {
    auto made = co_await connect();
    const auto before = co_await ask(**made, "one");
    line->server->new_keys();
    const auto after = co_await ask(**made, "two");
    BOOST_TEST(before + after == "enoowt");
}

CO_TEST_CASE(an_expired_certificate_is_refused, tls_world) {
    certificate_request old;
    old.valid_from = std::chrono::hours(-48);
    old.valid_until = std::chrono::hours(-24);
    show(old);
    co_await check_refused("certificate has expired");
}

CO_TEST_CASE(a_certificate_of_the_future_is_refused, tls_world) {
    certificate_request young;
    young.valid_from = std::chrono::hours(24);
    young.valid_until = std::chrono::hours(48);
    show(young);
    co_await check_refused("certificate is not yet valid");
}

CO_TEST_CASE(a_certificate_for_another_host_is_refused, tls_world) {
    host = "other.test";
    co_await check_refused("hostname mismatch");
}

CO_TEST_CASE(the_common_name_is_no_host_name_where_there_are_alternatives, tls_world) {
    certificate_request what;
    what.name = "server.test";
    what.alternative = "DNS:elsewhere.test";
    show(what);
    co_await check_refused("hostname mismatch");
}

CO_TEST_CASE(a_wildcard_stands_for_one_whole_label, tls_world) {
    certificate_request what;
    what.alternative = "DNS:*.server.test,DNS:f*.part.test";
    show(what);
    host = "a.server.test";
    co_await check_accepted();
    for (const char* other : {"server.test", "a.b.server.test", "full.part.test"}) {
        line = std::make_shared<wire_state>(rt);
        host = other;
        co_await check_refused("hostname mismatch");
    }
}

CO_TEST_CASE(a_dot_at_the_end_of_a_name_is_none_of_it, tls_world) {
    host = "server.test.";
    co_await check_accepted();
    BOOST_TEST(line->server->server_name() == "server.test");
}

CO_TEST_CASE(an_address_is_looked_for_among_the_addresses, tls_world) {
    certificate_request what;
    what.alternative = "IP:127.0.0.1,IP:0:0:0:0:0:0:0:1";
    show(what);
    for (const char* address : {"127.0.0.1", "::1"}) {
        line = std::make_shared<wire_state>(rt);
        host = address;
        co_await check_accepted();
        BOOST_TEST(line->server->server_name().empty()); // RFC 6066: an address is no server name
    }
    line = std::make_shared<wire_state>(rt);
    host = "127.0.0.2";
    co_await check_refused("IP address mismatch");
}

CO_TEST_CASE(a_name_that_looks_like_an_address_does_not_stand_for_it, tls_world) {
    certificate_request what;
    what.alternative = "DNS:127.0.0.1";
    show(what);
    host = "127.0.0.1";
    co_await check_refused("IP address mismatch");
}

CO_TEST_CASE(an_unknown_authority_is_refused, tls_world) {
    certificate_authority stranger("Stranger");
    setup.shown = stranger.sign({});
    co_await check_refused("unable to get local issuer certificate");
}

CO_TEST_CASE(the_systems_authorities_do_not_know_ours, tls_world) {
    options.ca_file.clear();
    co_await check_refused("unable to get local issuer certificate");
}

CO_TEST_CASE(anybody_is_accepted_only_where_that_was_asked_for_loudly, tls_world) {
    certificate_authority stranger("Stranger");
    setup.shown = stranger.sign({});
    host = "whoever.test";
    options.dangerously_accept_any_certificate = true;
    co_await check_accepted();
}

CO_TEST_CASE(versions_before_1_2_are_refused_and_1_2_is_not, tls_world) {
    for (const int version : {TLS1_VERSION, TLS1_1_VERSION}) {
        line = std::make_shared<wire_state>(rt);
        setup.newest = version;
        co_await check_refused("protocol");
    }
    line = std::make_shared<wire_state>(rt);
    setup.newest = TLS1_2_VERSION;
    co_await check_accepted();
}

CO_TEST_CASE(a_server_that_wants_a_certificate_refuses_a_client_without_one, tls_world) {
    setup.wants_clients_of = authority.file();
    setup.newest = TLS1_2_VERSION;
    co_await check_refused("handshake failure");
}

CO_TEST_CASE(with_tls_1_3_that_comes_with_the_first_read_and_is_tls_that_failed, tls_world) {
    setup.wants_clients_of = authority.file();
    auto made = co_await connect();
    BOOST_TEST_REQUIRE(made.has_value());
    char bytes[10];
    const auto got = co_await (*made)->read_some(net::buffer(bytes));
    BOOST_TEST_REQUIRE(!got.has_value());
    BOOST_TEST((got.error().cls == failure_class::tls), got.error().message);
    BOOST_TEST(got.error().message.find("certificate required") != std::string::npos, got.error().message);
}

CO_TEST_CASE(a_client_shows_its_certificate, tls_world) {
    setup.wants_clients_of = authority.file();
    certificate_request me;
    me.name = "client";
    me.alternative = {};
    const auto mine = authority.sign(me);
    options.certificate_file = mine.certificate;
    options.key_file = mine.key;
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        line = std::make_shared<wire_state>(rt);
        setup.newest = version;
        co_await check_accepted();
    }
}

CO_TEST_CASE(a_server_without_tls_is_told_so, tls_world) {
    show({});
    line->plain = "HTTP/1.1 400 Bad Request\r\n\r\n";
    co_await check_refused("wrong version number");
}

CO_TEST_CASE(a_peer_that_leaves_in_the_handshake_has_cut_it, tls_world) {
    show({});
    line->mute = line->ended = true;
    const auto how = co_await refused();
    BOOST_TEST((how.code == error_code(errc::cut)), how.message);
    BOOST_TEST(how.connected);
}

CO_TEST_CASE(a_close_notify_is_an_orderly_end, tls_world) {
    auto made = co_await connect();
    line->server->say("bye");
    line->server->close_notify();
    line->ended = true;
    char bytes[10];
    const auto last = co_await (*made)->read_some(net::buffer(bytes));
    BOOST_TEST((last.has_value() && *last == 3u));
    const auto end = co_await (*made)->read_some(net::buffer(bytes));
    BOOST_TEST((end.has_value() && *end == 0u));
}

CO_TEST_CASE(an_end_without_close_notify_is_a_cut, tls_world) {
    auto made = co_await connect();
    line->server->say("by");
    line->ended = true;
    char bytes[10];
    const auto last = co_await (*made)->read_some(net::buffer(bytes));
    BOOST_TEST((last.has_value() && *last == 2u));
    const auto end = co_await (*made)->read_some(net::buffer(bytes));
    BOOST_TEST_REQUIRE(!end.has_value());
    BOOST_TEST((end.error().code == error_code(errc::cut)), end.error().message);
    BOOST_TEST(end.error().message.find("close_notify") != std::string::npos, end.error().message);
}

CO_TEST_CASE(what_is_no_tls_in_the_middle_is_a_cut, tls_world) {
    auto made = co_await connect();
    const auto first = co_await ask(**made, "hello");
    BOOST_TEST(first == "olleh");
    line->plain = "this is no record of TLS";
    char bytes[10];
    const auto got = co_await (*made)->read_some(net::buffer(bytes));
    BOOST_TEST_REQUIRE(!got.has_value());
    BOOST_TEST((got.error().code == error_code(errc::cut)), got.error().message);
}

CO_TEST_CASE(a_handshake_that_is_cancelled_closes_the_connection, tls_world) {
    show({});
    line->mute = true;
    auto connecting = connect();
    const auto made = co_await with_deadline(rt, later(rt.now(), seconds(1)), std::move(connecting));
    BOOST_TEST(!made.has_value());
    BOOST_TEST(line->closed);
}

CO_TEST_CASE(close_ends_a_pending_read, tls_world) {
    auto made = co_await connect();
    task_scope scope(rt, [](std::exception_ptr error) { std::rethrow_exception(error); });
    auto close_later = [](runtime& rt, connection& what) -> net::awaitable<void> {
        co_await rt.sleep_for(seconds(1));
        what.close();
    };
    scope.spawn(close_later(rt, **made));
    char bytes[10];
    const auto got = co_await (*made)->read_some(net::buffer(bytes));
    BOOST_TEST_REQUIRE(!got.has_value());
    BOOST_TEST((got.error().code == error_code(errc::closed)), got.error().message);
    co_await scope.join();
}

// --- contexts

BOOST_AUTO_TEST_CASE(a_file_that_cannot_be_used_is_named) {
    certificate_authority authority;
    const auto good = authority.sign({});
    const auto other = authority.sign({});
    struct wrong {
        tls_options options;
        std::string named;
    };
    const auto with = [](auto set) {
        tls_options options;
        set(options);
        return options;
    };
    const std::vector<wrong> all{
        {with([&](auto& o) { o.ca_file = "/nowhere.pem"; }), "/nowhere.pem: No such file or directory"},
        {with([&](auto& o) { o.ca_file = good.key; }), good.key},
        {with([&](auto& o) { o.certificate_file = "/nowhere.pem"; }),
         "/nowhere.pem: No such file or directory"},
        {with([&](auto& o) { o.certificate_file = good.certificate; }), good.certificate}, // holds no key
        {with([&](auto& o) {
             o.certificate_file = good.certificate;
             o.key_file = "/nokey.pem";
         }),
         "/nokey.pem"},
        {with([&](auto& o) {
             o.certificate_file = good.certificate;
             o.key_file = other.key;
         }),
         other.key}};
    for (const auto& each : all) {
        const auto made = make_tls_context(each.options);
        BOOST_TEST_REQUIRE(!made.has_value());
        BOOST_TEST((made.error().code == error_code(errc::tls_failed)));
        BOOST_TEST(made.error().message.find(each.named) != std::string::npos, made.error().message);
    }
}

BOOST_AUTO_TEST_CASE(a_key_behind_a_password_is_refused_and_nobody_is_asked) {
    certificate_authority authority;
    auto mine = authority.sign({});
    const auto locked = mine.key + ".locked";
    {
        std::FILE* file = std::fopen(mine.key.c_str(), "r");
        EVP_PKEY* const key = PEM_read_PrivateKey(file, nullptr, nullptr, nullptr);
        std::fclose(file);
        file = std::fopen(locked.c_str(), "w");
        PEM_write_PrivateKey(file, key, EVP_aes_128_cbc(), nullptr, 0, nullptr, const_cast<char*>("secret"));
        std::fclose(file);
        EVP_PKEY_free(key);
    }
    tls_options options;
    options.certificate_file = mine.certificate;
    options.key_file = locked;
    const auto made = make_tls_context(options);
    BOOST_TEST_REQUIRE(!made.has_value());
    BOOST_TEST(made.error().message.find(locked) != std::string::npos, made.error().message);
}

BOOST_AUTO_TEST_CASE(a_context_is_made_once_and_only_for_https) {
    http::transport how;
    BOOST_TEST(http::see_to_trust(how, endpoint("http", "a.test", 80)).has_value());
    BOOST_TEST(!how.tls);
    BOOST_TEST(http::see_to_trust(how, endpoint("https", "a.test", 443)).has_value());
    BOOST_TEST_REQUIRE(how.tls);
    const auto made = how.tls;
    BOOST_TEST(http::see_to_trust(how, endpoint("https", "b.test", 443)).has_value());
    BOOST_TEST((how.tls == made));
}
