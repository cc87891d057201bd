#include <holdfast/testing/sim_fault.hpp>

#include <algorithm>
#include <charconv>

namespace holdfast::testing {

namespace detail {

bool befalls_a_stream(const fault& f) {
    switch (f.what) {
    case fault::kind::restart:
    case fault::kind::terminate:
    case fault::kind::api_status:
    case fault::kind::drop_answer:
    case fault::kind::cut_answer:
    case fault::kind::bad_json:
    case fault::kind::odd_json:
    case fault::kind::web_page: return false;
    default: return true;
    }
}

bool has_offset(const fault& f) {
    return befalls_a_stream(f) && f.what != fault::kind::early_end && f.what != fault::kind::status &&
           f.what != fault::kind::hang;
}

std::optional<fault> take_fault(std::vector<fault>& from, const std::function<bool(const fault&)>& wanted) {
    const auto found =
        std::find_if(from.begin(), from.end(), [&](const fault& f) { return f.times > 0 && wanted(f); });
    if (found == from.end())
        return std::nullopt;
    if (found->times != fault::always)
        --found->times;
    return *found;
}

std::string of_another_shape(const std::string& body) {
    return body.starts_with('[') ? "{\"data\":" + body + "}" : "[" + body + "]";
}

} // namespace detail

namespace {

using kind = fault::kind;

enum class shape {
    offset,  // @N, then * for every stream
    pause,   // [@N[:MS]]
    once_at, // @N
    times,   // [@TIMES], or * for ever
    code,    // @CODE, then xTIMES, or * for ever
};

struct known_fault {
    std::string_view name;
    kind what;
    shape form;
    std::string_view usage;
};

constexpr known_fault known[] = {
    {"cut", kind::cut, shape::offset, "cut@N or cut@N*"},
    {"reset", kind::reset, shape::offset, "reset@N or reset@N*"},
    {"stall", kind::stall, shape::offset, "stall@N or stall@N*"},
    {"mute", kind::mute, shape::offset, "mute@N or mute@N*"},
    {"garbage", kind::garbage, shape::offset, "garbage@N or garbage@N*"},
    {"drop", kind::drop, shape::offset, "drop@N or drop@N*"},
    {"refuse", kind::refuse, shape::pause, "refuse, refuse@N or refuse@N:MS"},
    {"restart", kind::restart, shape::once_at, "restart@N"},
    {"terminate", kind::terminate, shape::once_at, "terminate@N"},
    {"early-end", kind::early_end, shape::times, "early-end, early-end@TIMES or early-end*"},
    {"status", kind::status, shape::code, "status@CODE, status@CODExTIMES or status@CODE*"},
    {"hang", kind::hang, shape::times, "hang, hang@TIMES or hang*"},
    {"api-status", kind::api_status, shape::code,
     "api-status@CODE, api-status@CODExTIMES or api-status@CODE*"},
    {"drop-answer", kind::drop_answer, shape::times, "drop-answer, drop-answer@TIMES or drop-answer*"},
    {"cut-answer", kind::cut_answer, shape::times, "cut-answer, cut-answer@TIMES or cut-answer*"},
    {"bad-json", kind::bad_json, shape::times, "bad-json, bad-json@TIMES or bad-json*"},
    {"odd-json", kind::odd_json, shape::times, "odd-json, odd-json@TIMES or odd-json*"},
    {"web-page", kind::web_page, shape::times, "web-page, web-page@TIMES or web-page*"},
};

/// Takes a number off the front.
std::optional<std::uint64_t> take_number(std::string_view& text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc())
        return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return value;
}

bool take(std::string_view& text, char c) {
    if (text.empty() || text.front() != c)
        return false;
    text.remove_prefix(1);
    return true;
}

/// Reads what follows the name; false when it is not of the fault's shape.
bool read_rest(shape form, std::string_view rest, fault& out) {
    const bool numbered = take(rest, '@');
    std::optional<std::uint64_t> number;
    if (numbered) {
        number = take_number(rest);
        if (!number)
            return false;
    }
    const bool bare_allowed = form == shape::pause || form == shape::times;
    if (!numbered && !bare_allowed)
        return false;
    switch (form) {
    case shape::offset:
        out.after = *number;
        if (take(rest, '*'))
            out.times = fault::always;
        break;
    case shape::once_at: out.after = *number; break;
    case shape::pause:
        out.after = number.value_or(0);
        if (numbered && take(rest, ':')) {
            const auto ms = take_number(rest);
            if (!ms || *ms > 86'400'000)
                return false;
            out.for_ = milliseconds(*ms);
        }
        break;
    case shape::times:
        out.times = number.value_or(1);
        if (!numbered && take(rest, '*'))
            out.times = fault::always;
        break;
    case shape::code:
        if (*number < 100 || *number > 599)
            return false;
        out.status = static_cast<unsigned>(*number);
        if (take(rest, '*')) {
            out.times = fault::always;
        } else if (take(rest, 'x')) {
            const auto times = take_number(rest);
            if (!times)
                return false;
            out.times = *times;
        }
        break;
    }
    return rest.empty();
}

} // namespace

boost::system::result<fault> parse_fault(std::string_view spec, std::string* why) {
    const auto name = spec.substr(0, spec.find_first_of("@*"));
    for (const auto& candidate : known) {
        if (candidate.name != name)
            continue;
        fault out;
        out.what = candidate.what;
        if (read_rest(candidate.form, spec.substr(name.size()), out))
            return out;
        if (why)
            *why = "fault \"" + std::string(spec) + "\" is not of the form " + std::string(candidate.usage);
        return error_code(errc::invalid_request);
    }
    if (why) {
        *why = "unknown fault \"" + std::string(spec) + "\"; known are";
        for (const auto& candidate : known)
            *why += (&candidate == known ? " " : ", ") + std::string(candidate.name);
    }
    return error_code(errc::invalid_request);
}

std::string_view fault_help() {
    return "  cut@N        end the first event stream in mid-chunk after N body bytes; cut@N* every one\n"
           "  reset@N[*]   the same with a TCP reset\n"
           "  stall@N[*]   after N body bytes send nothing more, and keep the connection open\n"
           "  mute@N[*]    after N body bytes send heartbeats only\n"
           "  garbage@N[*] after N body bytes send bytes that are not HTTP\n"
           "  drop@N[*]    after N body bytes end the stream in good order, as for a reader that is too "
           "slow\n"
           "  refuse[@N[:MS]]  after N body bytes (0) cut the stream and refuse connections for MS ms "
           "(3000)\n"
           "  restart@N    kill the process after N body bytes on all event streams, and start it again\n"
           "  terminate@N  the same by SIGTERM: 2.x stores first what it interrupts\n"
           "  early-end[@TIMES|*]  answer an event stream 200 and end it at once\n"
           "  status@CODE[xTIMES|*]  answer an event stream with this status\n"
           "  hang[@TIMES|*]  never answer an event stream\n"
           "  api-status@CODE[xTIMES|*]  answer any other request with this status\n"
           "  drop-answer[@TIMES|*]  take a prompt, and cut its connection before the answer\n"
           "  cut-answer[@TIMES|*]  cut any other answer in the middle of its body\n"
           "  bad-json[@TIMES|*]  give such an answer a body that is no JSON\n"
           "  odd-json[@TIMES|*]  give it JSON of another shape, an array for an object\n"
           "  web-page[@TIMES|*]  answer any other request 200 with a web page, as a proxy does, and do not "
           "take it\n"
           "  Several may be given; of those that befall an event stream, each stream takes one, in this "
           "order.\n";
}

} // namespace holdfast::testing
