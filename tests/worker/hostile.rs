//! Tests that a worker outlives brokers that break every rule: each row of the table below costs its own client, for the reason that it says, and nobody else anything.
//!
//! All rows are clients of one worker, in both versions of MQTT and over TCP and TLS unless the row says
//! otherwise. A broker does all that it should up to the moment that the row names, and goes on with it after
//! that; the words in which the table has it are those of `hostile/language.rs`. A client that is to stay up is
//! answered on. "Ends" is the reason, and what its detail begins with or has in it.
//!
//! | name | MQTT | way | moment | the broker sends | ends |
//! |---|---|---|---|---|---|
//! | `connack_a_second_time` | both | any | connect | `ok ok` | `protocol_violation: CONNACK a second time` |
//! | `message_before_connack` | both | any | connect | `30 { ['t'] p }` | `protocol_violation: PUBLISH before CONNACK` |
//! | `answer_before_connack` | both | any | connect | `d0 {}` | `protocol_violation: PINGRESP before CONNACK` |
//! | `anything_before_connect` | both | any | accept | `d0 {}` | `protocol_violation: PINGRESP before CONN` |
//! | `connack_of_mqtt_3_that_accepts` | 5 | any | connect | `20 { 00 00 }` | `unsupported_protocol_version: it answers in MQTT 3` |
//! | `connack_of_mqtt_3_that_refuses` | 5 | any | connect | `20 { 00 01 }` | `unsupported_protocol_version: it answers in MQTT 3` |
//! | `connack_flags` | both | any | connect | `20 { 02 00 p }` | `protocol_violation: CONNACK with acknowledge flags 0x02` |
//! | `connack_session_but_refused` | both | any | connect | `20 { 01 05 p }` | `protocol_violation: CONNACK with a session, but refused` |
//! | `connack_unknown_success` | 5 | any | connect | `20 { 00 01 p }` | `protocol_violation: CONNACK with reason code 0x01` |
//! | `connack_unknown_failure` | 5 | any | connect | `20 { 00 ee p }` | `other_broker_reason: CONNACK reason code 0xee` |
//! | `connack_return_code_6` | 3.1.1 | any | connect | `20 { 00 06 }` | `other_broker_reason: CONNACK return code 6` |
//! | `connack_refuses_in_words` | 5 | any | connect | `20 { 00 87 { 1f ['who are you?'] } }` | `not_authorized: who are you?` |
//! | `connack_escapes` | 5 | any | connect | `20 { 00 87 { 1f [1b '[2J' 0d 'gone'] } }` | `not_authorized: ` |
//! | `connack_empty` | both | any | connect | `20 {}` | `protocol_violation: CONNACK that ends too early` |
//! | `connack_short` | both | any | connect | `20 { 00 }` | `protocol_violation: CONNACK that ends too early` |
//! | `connack_long` | 3.1.1 | any | connect | `20 { 00 00 00 }` | `protocol_violation: CONNACK with bytes behind its end` |
//! | `connack_long` | 5 | any | connect | `20 { 00 00 00 00 }` | `protocol_violation: CONNACK with bytes behind its end` |
//! | `connack_properties_cut_off` | 5 | any | connect | `20 { 00 00 7f }` | `protocol_violation: CONNACK that ends too early` |
//! | `connack_property_twice` | 5 | any | connect | `20 { 00 00 { 2*(21 00 05) } }` | `protocol_violation: CONNACK with property Receive Maximum, which it has twice` |
//! | `connack_property_of_a_message` | 5 | any | connect | `20 { 00 00 { 23 00 01 } }` | `protocol_violation: CONNACK with property Topic Alias, which it must not have` |
//! | `connack_property_unknown` | 5 | any | connect | `20 { 00 00 { 7e 00 } }` | `protocol_violation: CONNACK with property 0x7e, which it must not have` |
//! | `connack_property_out_of_range` | 5 | any | connect | `20 { 00 00 { 21 00 00 } }` | `protocol_violation: CONNACK with property Receive Maximum, whose value is out of range` |
//! | `connack_reason_with_nul` | 5 | any | connect | `20 { 00 87 { 1f ['a' 00 'b'] } }` | `protocol_violation: CONNACK with U+0000 in its text` |
//! | `connack_reason_not_utf_8` | 5 | any | connect | `20 { 00 87 { 1f [ff fe] } }` | `protocol_violation: CONNACK with text that is not UTF-8` |
//! | `connack_19_kb_of_properties` | 5 | any | connect | `20 { 00 00 { 300*(26 [30*61] [30*62]) } }` | `protocol_violation: CONNACK with more than 16 KiB of properties` |
//! | `connack_200_kb_of_properties` | 5 | any | connect | `20 { 00 00 { 4*(26 [50000*61] [62]) } }` | `protocol_violation: CONNACK with more than 16 KiB of properties` |
//! | `connack_65_user_properties` | 5 | any | connect | `20 { 00 00 { 65*(26 ['k'] ['v']) } }` | `protocol_violation: CONNACK with more than 64 user properties` |
//! | `connack_64_user_properties` | 5 | any | connect | `20 { 00 00 { 64*(26 ['k'] ['v']) } }` | `up` |
//! | `connack_of_256_mib` | both | any | connect | `20 ff ff ff 7f` | `protocol_violation: CONNACK of 268,435,460 bytes, of which 262,144 are allowed` |
//! | `length_of_five_bytes` | both | any | connect | `20 80 80 80 80 01` | `protocol_violation: CONNACK with a remaining length of more than four bytes` |
//! | `length_of_too_many_bytes` | 5 | any | connect | `20 83 00 00 00 00` | `protocol_violation: CONNACK with a remaining length of too many bytes` |
//! | `length_of_too_many_bytes` | 3.1.1 | any | connect | `20 82 00 00 00` | `up` |
//! | `http` | both | any | connect | `'HTTP/1.1 400 Bad Request\r\n\r\n' fin` | `protocol_violation: it answers in HTTP, not in MQTT` |
//! | `http_at_once` | both | tcp | accept | `'HTTP/1.1 408 Request Timeout\r\n\r\n' fin` | `protocol_violation: it answers in HTTP, not in MQTT` |
//! | `tls_alert` | both | any | connect | `15 03 01 00 02 02 46 fin` | `protocol_violation: it answers in TLS, not in MQTT` |
//! | `ssh` | both | any | accept | `'SSH-2.0-OpenSSH_9.6\r\n'` | `protocol_violation: it does not answer in MQTT, but with "SSH-2.0-OpenSSH_9.6"` |
//! | `smtp` | both | any | accept | `'220 mail ESMTP\r\n'` | `protocol_violation: it does not answer in MQTT, but with "220 mail ESMTP"` |
//! | `noise` | both | any | connect | `8*(e7 9b 3c 00)` | `protocol_violation: DISCONNECT with flags 0x07` |
//! | `auth_flood` | 5 | any | connect | `ok 5000*(f0 {})` | `protocol_violation: AUTH that was not asked for` |
//! | `auth_before_connack` | 5 | any | connect | `f0 { 18 { 15 ['SCRAM'] } }` | `protocol_violation: AUTH that was not asked for` |
//! | `auth` | 3.1.1 | any | connect | `ok f0 {}` | `protocol_violation: AUTH in MQTT 3.1.1` |
//! | `suback_without_codes` | both | any | subscribe | `90 { id p }` | `protocol_violation: SUBACK without reason codes` |
//! | `suback_with_too_many_codes` | both | any | subscribe | `90 { id p 3*00 }` | `protocol_violation: SUBACK with 3 reason codes to 1 topic filter` |
//! | `suback_with_10000_codes` | both | any | subscribe | `90 { id p 10000*00 }` | `protocol_violation: SUBACK with 10,000 reason codes to 1 topic filter` |
//! | `suback_for_nothing` | both | any | subscribe | `90 { id+1 p 00 }` | `protocol_violation: SUBACK for packet identifier` |
//! | `suback_for_identifier_0` | both | any | subscribe | `90 { 00 00 p 00 }` | `protocol_violation: SUBACK with packet identifier 0` |
//! | `suback_code_3` | both | any | subscribe | `90 { id p 03 }` | `code 0x03` |
//! | `suback_twice` | both | any | subscribe | `ok ok` | `which is not in flight` |
//! | `suback_short` | both | any | subscribe | `90 { 00 }` | `protocol_violation: SUBACK that ends too early` |
//! | `suback_flags` | both | any | subscribe | `91 { id p 00 }` | `protocol_violation: SUBACK with flags 0x01` |
//! | `suback_reason_with_nul` | 5 | any | subscribe | `90 { id { 1f [00] } 00 }` | `protocol_violation: SUBACK with U+0000 in its text` |
//! | `suback_20_kb_reason` | 5 | any | subscribe | `90 { id { 1f [20000*61] } 00 }` | `protocol_violation: SUBACK with more than 16 KiB of properties` |
//! | `suback_refuses` | both | any | subscribe | `90 { id p 80 }` | `up` |
//! | `suback_refuses_with_another_code` | 5 | any | subscribe | `90 { id p ff }` | `up` |
//! | `suback_for_a_message` | both | any | publish 1 | `90 { id p 00 }` | `which is a PUBLISH at QoS 1` |
//! | `suback_for_a_message_at_qos_2` | both | any | publish 2 | `90 { id p 00 }` | `which is a PUBLISH at QoS 2 that has no PUBREC yet` |
//! | `unsuback_for_a_message` | 3.1.1 | any | publish 1 | `b0 { id }` | `protocol_violation: UNSUBACK for packet identifier` |
//! | `unsuback_for_a_message` | 5 | any | publish 1 | `b0 { id p 00 }` | `which is a PUBLISH at QoS 1` |
//! | `unsuback_for_a_subscribe` | 3.1.1 | any | subscribe | `b0 { id }` | `which is a SUBSCRIBE` |
//! | `unsuback_for_a_subscribe` | 5 | any | subscribe | `b0 { id p 00 }` | `which is a SUBSCRIBE` |
//! | `unsuback_for_nothing` | 3.1.1 | any | connect | `ok b0 { 00 07 }` | `UNSUBACK for packet identifier 7, which is not in flight` |
//! | `unsuback_without_codes` | 5 | any | connect | `ok b0 { 00 07 p }` | `protocol_violation: UNSUBACK without reason codes` |
//! | `puback_for_nothing` | both | any | connect | `ok 40 { 00 07 }` | `protocol_violation: PUBACK for packet identifier 7, which is not in flight` |
//! | `puback_twice` | both | any | publish 1 | `ok ok` | `which is not in flight` |
//! | `puback_at_qos_2` | both | any | publish 2 | `40 { id }` | `which is a PUBLISH at QoS 2 that has no PUBREC yet` |
//! | `puback_for_a_subscribe` | both | any | subscribe | `40 { id }` | `which is a SUBSCRIBE` |
//! | `puback_unknown_success` | 5 | any | publish 1 | `40 { id 01 }` | `protocol_violation: PUBACK with reason code 0x01` |
//! | `puback_refuses` | 5 | any | publish 1 | `40 { id 87 { 1f ['not yours'] } }` | `up` |
//! | `puback_reason_with_nul` | 5 | any | publish 1 | `40 { id 00 { 1f [00] } }` | `protocol_violation: PUBACK with U+0000 in its text` |
//! | `puback_long` | 3.1.1 | any | publish 1 | `40 { id 00 }` | `protocol_violation: PUBACK with bytes behind its end` |
//! | `pubrec_at_qos_1` | both | any | publish 1 | `50 { id }` | `which is a PUBLISH at QoS 1` |
//! | `pubrec_refuses` | 5 | any | publish 2 | `50 { id 97 }` | `up` |
//! | `pubrec_with_properties` | 5 | any | publish 2 | `50 { id 00 { 1f ['x'] 26 ['k'] ['v'] } }` | `up` |
//! | `pubrec_twice` | 5 | any | publish 2 | `ok ok` | `protocol_violation: PUBREC for packet identifier` |
//! | `pubrec_twice` | 3.1.1 | any | publish 2 | `ok ok` | `up` |
//! | `pubrec_300_times` | 3.1.1 | any | publish 2 | `300*ok` | `protocol_violation: PUBREC for packet identifier` |
//! | `pubrec_after_the_end` | both | any | pubrel | `ok 50 { id }` | `which is not in flight` |
//! | `pubcomp_for_nothing` | both | any | connect | `ok 70 { 00 09 }` | `protocol_violation: PUBCOMP for packet identifier 9, which is not in flight` |
//! | `pubcomp_at_qos_1` | both | any | publish 1 | `70 { id }` | `which is a PUBLISH at QoS 1` |
//! | `pubcomp_before_pubrec` | both | any | publish 2 | `70 { id }` | `which is a PUBLISH at QoS 2 that has no PUBREC yet` |
//! | `pubcomp_twice` | both | any | pubrel | `ok ok` | `which is not in flight` |
//! | `pubrel_for_nothing` | both | any | connect | `ok 62 { 00 2a }` | `up` |
//! | `pubrel_for_nothing_3000_times` | both | any | connect | `ok 3000*(62 { 00 2a })` | `up` |
//! | `pubrel_flags` | both | any | connect | `ok 60 { 00 01 }` | `protocol_violation: PUBREL with flags 0x00` |
//! | `message_at_qos_3` | both | any | connect | `ok 36 { ['t'] 00 01 p }` | `protocol_violation: PUBLISH with QoS 3` |
//! | `message_repeated_at_qos_0` | both | any | connect | `ok 38 { ['t'] p }` | `protocol_violation: PUBLISH repeated at QoS 0` |
//! | `message_with_nul` | both | any | connect | `ok 30 { ['a' 00 'b'] p }` | `protocol_violation: PUBLISH with U+0000 in its text` |
//! | `message_not_utf_8` | both | any | connect | `ok 30 { [ff fe] p }` | `protocol_violation: PUBLISH with text that is not UTF-8` |
//! | `message_with_a_surrogate` | both | any | connect | `ok 30 { [ed a0 80] p }` | `protocol_violation: PUBLISH with text that is not UTF-8` |
//! | `message_to_a_wildcard` | both | any | connect | `ok 30 { ['a/#'] p }` | `protocol_violation: PUBLISH with a wildcard in its topic` |
//! | `message_to_a_plus` | both | any | connect | `ok 30 { ['+/b'] p }` | `protocol_violation: PUBLISH with a wildcard in its topic` |
//! | `message_without_topic` | both | any | connect | `ok 30 { [] p }` | `protocol_violation: PUBLISH without a topic` |
//! | `message_with_an_alias` | 5 | any | connect | `ok 30 { ['t'] p{ 23 00 01 } }` | `protocol_violation: PUBLISH with a topic alias, though none was allowed` |
//! | `message_with_alias_0` | 5 | any | connect | `ok 30 { ['t'] p{ 23 00 00 } }` | `protocol_violation: PUBLISH with property Topic Alias, whose value is out of range` |
//! | `message_with_a_long_topic` | both | any | connect | `ok 30 { 00 7f 't' }` | `protocol_violation: PUBLISH that ends too early` |
//! | `message_with_identifier_0` | both | any | connect | `ok 32 { ['t'] 00 00 p }` | `protocol_violation: PUBLISH with packet identifier 0` |
//! | `message_without_identifier` | both | any | connect | `ok 32 { ['t'] }` | `protocol_violation: PUBLISH that ends too early` |
//! | `message_twice_at_qos_2` | both | any | connect | `ok 2*(34 { ['t'] 00 05 p })` | `protocol_violation: PUBLISH for packet identifier 5, which is in use` |
//! | `message_repeated_at_qos_2` | 3.1.1 | any | connect | `ok 34 { ['t'] 00 05 } 99*(3c { ['t'] 00 05 })` | `up` |
//! | `message_beyond_receive_maximum` | 5 | any | connect | `ok 34 { ['t'] 00 01 p } 34 { ['t'] 00 02 p } 34 { ['t'] 00 03 p } 34 { ['t'] 00 04 p } 34 { ['t'] 00 05 p }` | `protocol_violation: PUBLISH beyond the receive maximum` |
//! | `message_of_256_mib` | both | any | connect | `ok 30 ff ff ff 7f` | `protocol_violation: PUBLISH of 268,435,460 bytes, of which 262,144 are allowed` |
//! | `message_of_the_maximum` | 3.1.1 | any | connect | `ok 30 { ['t'] 262137*78 }` | `up, 1 message` |
//! | `message_of_the_maximum` | 5 | any | connect | `ok 30 { ['t'] p 262136*78 }` | `up, 1 message` |
//! | `message_above_the_maximum` | 3.1.1 | any | connect | `ok 30 { ['t'] 262138*78 }` | `protocol_violation: PUBLISH of 262,145 bytes, of which 262,144 are allowed` |
//! | `message_above_the_maximum` | 5 | any | connect | `ok 30 { ['t'] p 262137*78 }` | `protocol_violation: PUBLISH of 262,145 bytes, of which 262,144 are allowed` |
//! | `message_with_1025_properties` | 5 | any | connect | `ok 30 { ['t'] p{ 1025*(26 [] []) } }` | `protocol_violation: PUBLISH with more than 1,024 properties` |
//! | `message_with_1024_properties` | 5 | any | connect | `ok 30 { ['t'] p{ 1024*(26 [] []) } }` | `up, 1 message` |
//! | `message_with_subscription_0` | 5 | any | connect | `ok 30 { ['t'] p{ 0b 00 } }` | `protocol_violation: PUBLISH with property Subscription Identifier, whose value is out of range` |
//! | `message_with_payload_format_2` | 5 | any | connect | `ok 30 { ['t'] p{ 01 02 } }` | `protocol_violation: PUBLISH with property Payload Format Indicator, whose value is out of range` |
//! | `messages_glued_to_connack` | both | any | connect | `ok 5*(30 { ['t'] p 'x' })` | `up, 5 messages` |
//! | `messages_byte_by_byte` | both | any | connect | `slowly ok 2*(30 { ['t'] p 'x' }) d0 {}` | `up, 2 messages` |
//! | `connect_of_a_broker` | both | any | connect | `ok 10 { ['MQTT'] 04 02 00 3c ['x'] }` | `protocol_violation: CONNECT from a broker` |
//! | `subscribe_of_a_broker` | both | any | connect | `ok 82 { 00 01 p ['#'] 00 }` | `protocol_violation: SUBSCRIBE from a broker` |
//! | `unsubscribe_of_a_broker` | both | any | connect | `ok a2 { 00 01 p ['#'] }` | `protocol_violation: UNSUBSCRIBE from a broker` |
//! | `pingreq_of_a_broker` | both | any | connect | `ok c0 {}` | `protocol_violation: PINGREQ from a broker` |
//! | `reserved_type` | both | any | connect | `ok 00 {}` | `protocol_violation: reserved packet type 0 that no packet has` |
//! | `pingresp_unasked` | both | any | connect | `ok d0 {}` | `up` |
//! | `pingresp_5000_times` | both | any | connect | `ok 5000*(d0 {})` | `up` |
//! | `pingresp_long` | both | any | ping | `d0 { 00 }` | `protocol_violation: PINGRESP with bytes behind its end` |
//! | `pingresp_twice` | both | any | ping | `ok ok` | `up` |
//! | `disconnect_of_mqtt_3` | 3.1.1 | any | connect | `ok e0 {}` | `protocol_violation: DISCONNECT from a broker of MQTT 3.1.1` |
//! | `disconnect_without_a_code` | 5 | any | connect | `ok e0 {}` | `connection_lost: the broker said goodbye` |
//! | `disconnect_in_words` | 5 | any | connect | `ok e0 { 8b { 1f ['back at noon'] } }` | `server_shutting_down: back at noon` |
//! | `disconnect_unknown_failure` | 5 | any | connect | `ok e0 { ef }` | `other_broker_reason: DISCONNECT reason code 0xef` |
//! | `disconnect_unknown_success` | 5 | any | connect | `ok e0 { 05 }` | `protocol_violation: DISCONNECT with reason code 0x05` |
//! | `disconnect_of_a_client` | 5 | any | connect | `ok e0 { 04 }` | `protocol_violation: DISCONNECT with reason code 0x04` |
//! | `disconnect_reason_with_nul` | 5 | any | connect | `ok e0 { 8b { 1f [00] } }` | `protocol_violation: DISCONNECT with U+0000 in its text` |
//! | `disconnect_and_more` | 5 | any | connect | `ok e0 { 8b } 9*(30 { ['t'] p })` | `server_shutting_down: ` |
//! | `rst_at_accept` | both | tcp | accept | `rst` | `connection_` |
//! | `fin_at_accept` | both | any | accept | `fin` | `connection_lost: the broker closed the connection instead of answering CONNECT` |
//! | `rst_at_accept` | both | tls | accept | `rst` | `connection_lost: the broker closed the connection instead of answering CONNECT` |
//! | `rst_at_connect` | both | any | connect | `rst` | `connection_lost: the broker closed the connection instead of answering CONNECT` |
//! | `fin_at_connect` | both | any | connect | `fin` | `connection_lost: the broker closed the connection instead of answering CONNECT` |
//! | `rst_at_subscribe` | both | any | subscribe | `rst` | `connection_lost: ` |
//! | `fin_at_subscribe` | both | tcp | subscribe | `fin` | `connection_lost: the broker closed the connection` |
//! | `fin_at_subscribe` | both | tls | subscribe | `fin` | `connection_lost: the broker closed the connection without taking leave in TLS` |
//! | `rst_at_publish_at_qos_1` | both | any | publish 1 | `rst` | `connection_lost: ` |
//! | `fin_at_publish_at_qos_1` | both | tcp | publish 1 | `fin` | `connection_lost: the broker closed the connection` |
//! | `fin_at_publish_at_qos_1` | both | tls | publish 1 | `fin` | `connection_lost: the broker closed the connection without taking leave in TLS` |
//! | `rst_at_publish_at_qos_2` | both | any | publish 2 | `rst` | `connection_lost: ` |
//! | `fin_at_publish_at_qos_2` | both | tcp | publish 2 | `fin` | `connection_lost: the broker closed the connection` |
//! | `fin_at_publish_at_qos_2` | both | tls | publish 2 | `fin` | `connection_lost: the broker closed the connection without taking leave in TLS` |
//! | `rst_at_pubrel` | both | any | pubrel | `rst` | `connection_lost: ` |
//! | `fin_at_pubrel` | both | tcp | pubrel | `fin` | `connection_lost: the broker closed the connection` |
//! | `fin_at_pubrel` | both | tls | pubrel | `fin` | `connection_lost: the broker closed the connection without taking leave in TLS` |
//! | `rst_at_ping` | both | any | ping | `rst` | `connection_lost: ` |
//! | `fin_at_ping` | both | tcp | ping | `fin` | `connection_lost: the broker closed the connection` |
//! | `fin_at_ping` | both | tls | ping | `fin` | `connection_lost: the broker closed the connection without taking leave in TLS` |
//! | `half_a_connack` | both | any | connect | `20 03 00 mute` | `connect_timeout: no CONNACK within 5s` |
//! | `half_a_connack_and_fin` | both | any | connect | `20 03 00 fin` | `connection_lost: the broker closed the connection instead of answering CONNECT` |
//! | `half_a_message` | both | any | connect | `ok 30 7f 00 mute` | `keep_alive_timeout: ` |
//! | `half_a_message_and_fin` | both | tcp | connect | `ok 30 7f 00 fin` | `connection_lost: the broker closed the connection` |
//! | `half_a_message_and_fin` | both | tls | connect | `ok 30 7f 00 fin` | `connection_lost: the broker closed the connection without taking leave in TLS` |
//! | `half_a_message_and_rst` | both | any | subscribe | `ok 30 7f 00 rst` | `connection_lost: ` |
//! | `silence` | both | any | connect | `mute` | `connect_timeout: no CONNACK within 5s` |
//! | `silence_behind_connack` | both | any | connect | `ok mute` | `keep_alive_timeout: ` |

mod broker;
mod floods;
mod language;
mod random;
mod table;

use std::{sync::Arc, time::Duration};

use mqfleet_test_support::{
    mosquitto::Mosquitto,
    worker::{self, Def, Worker},
};

use mqfleet::{
    event::Step,
    fleet::{Conversation, Endpoint, Message, Probe, ProbeKind, Protocol, Settings, Subscription, Tls, Transport},
    wire::{ClientDef, Remote, Slot},
};

/// A bound for what takes seconds, on a machine that does much else.
const SOON: Duration = Duration::from_secs(120);

const BOTH: [Protocol; 2] = [Protocol::V311, Protocol::V5];

const MIB: u64 = 1 << 20;

/// A client that subscribes, is born with a message at this QoS, and probes.
fn client(id: String, protocol: Protocol, birth: u8, kind: ProbeKind) -> ClientDef {
    let message = Message { topic: "t/birth".into(), payload: Arc::new([7; 40]), qos: birth, retain: false };
    let conversation = Conversation {
        subscribe: vec![Subscription { filter: "cmd/#".into(), qos: 2 }],
        birth: Some(message),
        ..Conversation::default()
    };
    ClientDef {
        settings: Settings { protocol, probe: Probe { kind, every: Duration::from_millis(100) }, ..worker::settings() },
        conversation: Arc::new(conversation),
        ..worker::client(id)
    }
}

/// Connects it over TCP or TLS.
fn over(client: ClientDef, is_tls: bool, port: u16) -> Def {
    let mut endpoint = Endpoint::new("e", "127.0.0.1", port);
    if is_tls {
        endpoint.transport = Transport::Tls(Arc::new(Tls { insecure: true, ..Tls::default() }));
    }
    Def { client, remote: Remote::from(&endpoint) }
}

/// Clients of a broker that does nothing wrong; they are the first slots of every worker here.
struct Healthy(Mosquitto);

impl Healthy {
    const COUNT: usize = 12;

    fn new() -> Healthy {
        Healthy(Mosquitto::start())
    }

    fn defs(&self) -> Vec<Def> {
        let kinds = [ProbeKind::Ack, ProbeKind::Echo];
        let def = |n: usize| {
            let client = client(format!("healthy-{n}"), BOTH[n % 2], (n % 3) as u8, kinds[n / 2 % 2]);
            Def::new(client, self.0.port())
        };
        (0..Self::COUNT).map(def).collect()
    }

    fn slots() -> impl Iterator<Item = Slot> + Clone {
        0..Self::COUNT as Slot
    }

    /// Starts a worker with them and these others, and waits until they are up.
    async fn worker(&self, others: Vec<Def>) -> Worker {
        let mut worker = Worker::start(self.defs().into_iter().chain(others).collect()).await;
        worker.connect(Self::slots()).await;
        assert!(worker.until(SOON, |w| Self::slots().all(|slot| w.is_up(slot))).await, "{} up", worker.up());
        measured(&mut worker, Self::slots()).await;
        worker
    }

    /// Each of them is up still, without a break, and is measured.
    async fn have_not_blinked(worker: &mut Worker) {
        measured(worker, Self::slots()).await;
        for slot in Self::slots() {
            let steps = &worker.steps[&(slot, 1)];
            assert!(matches!(steps[..], [(_, Step::Up(_))]), "slot {slot}: {steps:?}");
        }
        let healthy = worker.samples.iter().filter(|s| s.slot < Self::COUNT as Slot);
        let longest = healthy.map(|s| s.rtt).max().unwrap_or_default();
        println!("the longest round trip of a healthy client: {longest:.1?}");
    }
}

/// Waits until each of these has some more answers to its probes.
async fn measured(worker: &mut Worker, slots: impl Iterator<Item = Slot> + Clone) {
    let seen = worker.samples.len();
    let count = |w: &Worker, slot| w.samples[seen..].iter().filter(|s| s.slot == slot).count();
    let all = worker.until(SOON, |w| slots.clone().all(|slot| count(w, slot) >= 3)).await;
    let missing: Vec<Slot> = slots.filter(|&slot| count(worker, slot) < 3).collect();
    assert!(all, "no answers for slots {missing:?}");
}
