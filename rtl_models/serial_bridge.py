"""The serial bridge: frames of bytes on one side, the accelerator's streams and registers on the
other."""

from pymtl3 import Bits1, Component, Wire, concat, mk_bits, update, update_ff, zext
from pymtl3.passes.backends.verilog import VerilogTranslationPass
from pymtl3.stdlib.stream.ifcs import RecvIfcRTL, SendIfcRTL

from accel.hardware.config import BUS_NBITS, clog2
from accel.hardware.registers import ADDRESS_NBITS, DATA_NBITS
from accel.hardware.serial import (
    ACCESS_NBITS,
    CRC_POLYNOMIAL,
    CRC_RESIDUE,
    MAX_WORDS,
    REPLY_NBITS,
    SOFT_RESET_ADDRESS,
    SOFT_RESET_DATA,
    START,
    SYMBOL_NBITS,
    Answer,
    Request,
)
from rtl_models.memory import MemoryRTL


class SerialBridgeRTL(Component):
    """Does what frames ask for, one after another, and answers each (accel/hardware/serial.py).

    ::

        rx --> [ word ] --> [ buffer, of a frame ] --> prog, image     once the CRC was right
                  |                                --> access, reply   registers
        tx <-- [ word ] <-- [ results, a queue ] <---- result

    ``rx`` is a byte, or that the line was silent; it is taken while no answer is under way, one a
    cycle. Words that were written go on every other cycle, while further frames are taken. After
    what is not a right frame, all is dropped until the line is silent, then it is answered.

    Latency: the answer's first byte is offered 3 cycles after the request's last one was taken, and
    after an access of a register 2 cycles after the reply. RESTART withdraws a word that is offered
    on ``prog`` or ``image``: the accelerator is reset then. Reset: nothing on its way, session 0,
    which is no host's, mark 0. ``max_words``, of a frame and of the queue, is a power of two.
    """

    def construct(s, max_words=MAX_WORDS):
        s.set_metadata(VerilogTranslationPass.explicit_module_name, f"SerialBridge_{max_words}")
        index_nbits, count_nbits = clog2(max_words), clog2(max_words) + 1
        Word, Index, Count = mk_bits(BUS_NBITS), mk_bits(index_nbits), mk_bits(count_nbits)
        OK, LINE, REQUEST = int(Answer.OK), int(Answer.LINE), int(Answer.REQUEST)
        SESSION, BUSY, REFUSED = int(Answer.SESSION), int(Answer.BUSY), int(Answer.REFUSED)
        OPEN, RESTART, PROGRAM = int(Request.OPEN), int(Request.RESTART), int(Request.PROGRAM)
        IMAGE, RESULT, GET = int(Request.IMAGE), int(Request.RESULT), int(Request.GET)
        SET, GET_MARK, SET_MARK = int(Request.SET), int(Request.GET_MARK), int(Request.SET_MARK)
        # Those before ACT take symbols.
        AWAIT, HEADER, PAYLOAD, CHECK, HUNT = 0, 1, 2, 3, 4
        ACT, ACCESS, REPLY, PREPARE, ANSWER, TAIL = 5, 6, 7, 8, 9, 10
        start, address_nbits, data_nbits = START, ADDRESS_NBITS, DATA_NBITS
        reset_address, reset_data = SOFT_RESET_ADDRESS, SOFT_RESET_DATA
        polynomial, residue, most = CRC_POLYNOMIAL, CRC_RESIDUE, max_words
        Data, Address = mk_bits(DATA_NBITS), mk_bits(ADDRESS_NBITS)

        # Interface
        s.rx = RecvIfcRTL(mk_bits(SYMBOL_NBITS))
        s.tx = SendIfcRTL(mk_bits(8))
        s.prog, s.image = SendIfcRTL(Word), SendIfcRTL(Word)
        s.result = RecvIfcRTL(Word)
        s.access = SendIfcRTL(mk_bits(ACCESS_NBITS))
        s.reply = RecvIfcRTL(mk_bits(REPLY_NBITS))

        # Wires: the frame under way, and its answer
        s.state = Wire(4)
        s.silent, s.octet, s.position = Wire(), Wire(8), Wire(3)
        s.word, s.full_word, s.first_word = Wire(Word), Wire(Word), Wire(Word)
        s.crc, s.crc_from, s.crc_byte, s.crc_next = Wire(32), Wire(32), Wire(8), Wire(32)
        s.kind, s.number, s.session_asked = Wire(8), Wire(8), Wire(8)
        s.count, s.count16, s.argument, s.num_done = Wire(Count), Wire(16), Wire(16), Wire(Count)
        s.takes, s.sends, s.missed, s.word_comes = Wire(), Wire(), Wire(), Wire()
        s.verdict, s.answer = Wire(8), Wire(8)
        s.legal, s.writes, s.accepted, s.num_read = Wire(), Wire(), Wire(), Wire(Count)
        s.answer_header, s.data = Wire(Word), Wire(Word)

        # What lasts
        s.session, s.mark = Wire(8), Wire(Word)
        s.occupied, s.to_image, s.fetched = Wire(), Wire(), Wire()
        s.next_word, s.num_words = Wire(Count), Wire(Count)
        s.head, s.tail, s.waiting = Wire(Index), Wire(Index), Wire(Count)
        s.pushes, s.pops, s.handed_on, s.restarts = Wire(), Wire(), Wire(), Wire()

        # Structure
        s.buffer = MemoryRTL(BUS_NBITS, max_words)
        s.results = MemoryRTL(BUS_NBITS, max_words)
        s.silent //= s.rx.msg[8]
        s.octet //= s.rx.msg[0:8]
        s.tx.msg //= s.word[0:8]
        s.count16 //= s.full_word[32:48]
        s.buffer.raddr //= s.next_word[0:index_nbits]
        s.buffer.waddr //= s.num_done[0:index_nbits]
        s.buffer.wdata //= s.full_word
        s.prog.msg //= s.buffer.rdata
        s.image.msg //= s.buffer.rdata
        # Always read: a word has waited for long when it is needed.
        s.results.ren //= 1
        s.results.raddr //= s.head
        s.results.waddr //= s.tail
        s.results.wdata //= s.result.msg
        s.results.wen //= s.pushes

        # Combinational
        @update
        def up_symbols():
            s.rx.rdy @= s.state < ACT
            s.takes @= s.rx.val & (s.state < ACT)
            s.tx.val @= (s.state == ANSWER) | (s.state == TAIL)
            s.sends @= s.tx.val & s.tx.rdy
            s.full_word @= concat(s.octet, s.word[8:64])

        @update
        def up_crc():
            s.crc_from @= s.crc
            if s.state == AWAIT:
                s.crc_from @= 0xFFFFFFFF
            s.crc_byte @= s.octet
            if s.state >= ACT:
                s.crc_byte @= s.word[0:8]

        @update
        def up_crc_next():
            crc = s.crc_from ^ zext(s.crc_byte, 32)
            for _i in range(8):
                if crc[0]:
                    crc = (crc >> 1) ^ polynomial
                else:
                    crc = crc >> 1
            s.crc_next @= crc

        @update
        def up_verdict():
            s.writes @= (s.kind == PROGRAM) | (s.kind == IMAGE)
            s.legal @= 0
            if s.writes:
                s.legal @= s.count != 0
            elif (s.kind == SET) | (s.kind == SET_MARK):
                s.legal @= s.count == 1
            elif (s.kind >= OPEN) & (s.kind <= GET_MARK):
                s.legal @= s.count == 0
            s.verdict @= OK
            if ~s.legal:
                s.verdict @= REQUEST
            elif (s.kind == OPEN) | (s.kind == RESTART):
                if s.session_asked == 0:
                    s.verdict @= SESSION
            elif (s.session_asked != s.session) | (s.session == 0):
                s.verdict @= SESSION
            elif s.writes & s.missed:
                s.verdict @= BUSY
            s.accepted @= (s.state == ACT) & (s.verdict == OK)
            s.num_read @= s.waiting
            if s.argument < zext(s.waiting, 16):
                s.num_read @= s.argument[0:count_nbits]

        @update
        def up_answer():
            s.answer_header @= 0
            s.answer_header[0:8] @= start
            s.answer_header[8:16] @= s.answer
            s.answer_header[16:24] @= s.number
            s.answer_header[24:32] @= s.session_asked
            s.answer_header[32:48] @= zext(s.count, 16)
            s.answer_header[48:63] @= zext(s.waiting, 15)
            s.answer_header[63] @= s.occupied

        @update
        def up_access():
            s.access.val @= s.state == ACCESS
            s.reply.rdy @= s.state == REPLY
            s.access.msg @= concat(Bits1(0), s.argument[0:address_nbits], Data(0))
            if s.kind == SET:
                s.access.msg @= concat(
                    Bits1(1), s.argument[0:address_nbits], s.first_word[0:data_nbits]
                )
            elif s.kind == RESTART:
                s.access.msg @= concat(Bits1(1), Address(reset_address), Data(reset_data))
            s.restarts @= s.reply.val & (s.state == REPLY) & (s.kind == RESTART)

        @update
        def up_streams():
            s.buffer.ren @= s.occupied & ~s.fetched
            s.word_comes @= s.takes & ~s.silent & (s.state == PAYLOAD) & (s.position == 7)
            s.buffer.wen @= s.word_comes & ~s.occupied
            s.prog.val @= s.fetched & ~s.to_image
            s.image.val @= s.fetched & s.to_image
            s.handed_on @= (s.prog.val & s.prog.rdy) | (s.image.val & s.image.rdy)
            s.result.rdy @= s.waiting != most
            s.pushes @= s.result.val & (s.waiting != most)
            s.pops @= (
                s.sends
                & (s.state == ANSWER)
                & (s.position == 7)
                & (s.num_done != s.count)
                & (s.kind == RESULT)
            )

        # Sequential
        @update_ff
        def up_state():
            if s.reset:
                s.state <<= AWAIT
                s.position <<= 0
                s.answer <<= 0
                s.session <<= 0
                s.mark <<= 0
            elif s.takes:
                if s.silent:
                    if s.state != AWAIT:
                        s.state <<= PREPARE
                        s.answer <<= LINE
                        s.kind <<= 0
                        s.number <<= 0
                        s.session_asked <<= 0
                        s.count <<= 0
                else:
                    s.position <<= s.position + 1
                    if s.state == AWAIT:
                        s.position <<= 1
                        if s.octet == start:
                            s.state <<= HEADER
                    elif s.state == HEADER:
                        if s.position == 7:
                            s.kind <<= s.full_word[8:16]
                            s.number <<= s.full_word[16:24]
                            s.session_asked <<= s.full_word[24:32]
                            s.count <<= s.full_word[32 : 32 + count_nbits]
                            s.argument <<= s.full_word[48:64]
                            if s.count16 == 0:
                                s.state <<= CHECK
                            elif s.count16 <= most:
                                s.state <<= PAYLOAD
                            else:
                                s.state <<= HUNT
                    elif s.state == PAYLOAD:
                        if (s.position == 7) & (s.num_done + 1 == s.count):
                            s.state <<= CHECK
                    elif s.state == CHECK:
                        if s.position == 3:
                            s.state <<= HUNT
                            if s.crc_next == residue:
                                s.state <<= ACT
            elif s.state == ACT:
                s.state <<= PREPARE
                s.answer <<= s.verdict
                s.count <<= 0
                if s.verdict == OK:
                    if (s.kind == OPEN) | (s.kind == RESTART):
                        s.session <<= s.session_asked
                    if (s.kind == RESTART) | (s.kind == GET) | (s.kind == SET):
                        s.state <<= ACCESS
                    if s.kind == GET_MARK:
                        s.count <<= 1
                    if s.kind == RESULT:
                        s.count <<= s.num_read
                    if s.kind == SET_MARK:
                        s.mark <<= s.first_word
                    # What was there is not what it was said to be any more.
                    if s.kind == PROGRAM:
                        s.mark <<= 0
            elif s.state == ACCESS:
                if s.access.rdy:
                    s.state <<= REPLY
            elif s.state == REPLY:
                if s.reply.val:
                    s.state <<= PREPARE
                    if s.reply.msg[data_nbits]:
                        s.answer <<= REFUSED
                    elif s.kind == GET:
                        s.count <<= 1
                    if s.kind == RESTART:
                        s.mark <<= 0
            elif s.state == PREPARE:
                s.position <<= 0
                s.state <<= ANSWER
            elif s.sends:
                s.position <<= s.position + 1
                if s.state == ANSWER:
                    if (s.position == 7) & (s.num_done == s.count):
                        s.state <<= TAIL
                elif s.position == 3:
                    s.state <<= AWAIT

        @update_ff
        def up_words():
            if s.state == PREPARE:
                s.word <<= s.answer_header
                s.crc <<= 0xFFFFFFFF
                s.num_done <<= 0
            elif s.takes & ~s.silent:
                s.word <<= s.full_word
                s.crc <<= s.crc_next
                if s.state == AWAIT:
                    s.num_done <<= 0
                elif (s.state == PAYLOAD) & (s.position == 7):
                    s.num_done <<= s.num_done + 1
                    if s.num_done == 0:
                        s.first_word <<= s.full_word
            elif s.sends:
                s.word <<= s.word >> 8
                s.crc <<= s.crc_next
                if (s.state == ANSWER) & (s.position == 7):
                    s.num_done <<= s.num_done + 1
                    s.word <<= s.data
                    if s.kind == RESULT:
                        s.word <<= s.results.rdata
                    if s.num_done == s.count:
                        s.word <<= zext(~s.crc_next, 64)

        # The words before may all be taken while a frame comes of which some were not stored.
        @update_ff
        def up_missed():
            if s.state == AWAIT:
                s.missed <<= 0
            elif s.word_comes & s.occupied:
                s.missed <<= 1

        @update_ff
        def up_data():
            if s.state == ACT:
                s.data <<= s.mark
            elif (s.state == REPLY) & s.reply.val:
                s.data <<= zext(s.reply.msg[0:data_nbits], 64)

        @update_ff
        def up_hand_over():
            if s.reset | (s.accepted & (s.kind == RESTART)):
                s.occupied <<= 0
                s.fetched <<= 0
            elif s.accepted & s.writes:
                s.occupied <<= 1
            elif s.handed_on:
                s.fetched <<= 0
                s.occupied <<= s.next_word + 1 != s.num_words
            elif s.occupied:
                s.fetched <<= 1
            if s.accepted & s.writes:
                s.to_image <<= s.kind == IMAGE
                s.next_word <<= 0
                s.num_words <<= s.count
            elif s.handed_on:
                s.next_word <<= s.next_word + 1

        @update_ff
        def up_results():
            if s.reset | s.restarts:
                s.head <<= 0
                s.tail <<= 0
                s.waiting <<= 0
            else:
                if s.pushes:
                    s.tail <<= s.tail + 1
                if s.pops:
                    s.head <<= s.head + 1
                s.waiting <<= s.waiting + zext(s.pushes, count_nbits) - zext(s.pops, count_nbits)

    def line_trace(s):
        return f"{s.rx} {int(s.state):2} {s.tx} | {s.prog} {s.image} {s.result} | {s.access}"
