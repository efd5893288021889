"""A file system that clones files, mounted where nobody else sees it; gone with the process.

The image is an empty btrfs of 128 MiB, as `mkfs.btrfs --mixed -m single -d single -n 4096` of
btrfs-progs 6.2 makes it: its pages that are not empty, each after its offset, squeezed. So no
machine needs that program.
"""

from __future__ import annotations

import base64
import os
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

from tests.private import privately

SIZE = 128 * 2**20
PAGE = 4096


def possible() -> bool:
    """True where it can be mounted: by root, with loop devices, and a kernel that knows btrfs."""
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
        return False
    return "btrfs" in Path("/proc/filesystems").read_text().split()


def on_btrfs(folder: Path, do: Callable[[Path], object]) -> int:
    """How a forked child ended that did it in an empty btrfs; see `in_child` for the numbers."""

    def mounted() -> None:
        image, place = folder / "image", folder / "mounted"
        write_image(image)
        place.mkdir()
        subprocess.run(["mount", "-o", "loop", image, place], check=True)
        image.unlink()  # the mount holds it, and ends with this process
        do(place)

    return privately(mounted)


def write_image(image: Path) -> None:
    """The image is that empty btrfs."""
    data = zlib.decompress(base64.b85decode(_IMAGE))
    with image.open("wb") as file:
        file.truncate(SIZE)
        for at in range(0, len(data), PAGE + 8):
            file.seek(int.from_bytes(data[at : at + 8], "little"))
            file.write(data[at + 8 : at + 8 + PAGE])


_IMAGE = (
    "c-rmVZ-^Xc9l-IK{hRya-V_6EP;{dh2sLrBwIV5X6A}oirQ2TB7glm<o5OG+-"
    "CV0;Uzo+VzR|*hBBoHdDt%FuIB4`5sL3f<DTEgFO(Y7w2o(R+9+du#5bt)L-|REL-PxVF+~#g`-"
    "w)*Wc7O9cGdnwb+2^<O{Kj!yXW9238@bKt;lA1<W3T*WpZC-"
    "6{^GgKmD*Xyv~x}T;GX^WPEQ`Zs}Q!RnOiTe%T2AH&ESr-"
    "lm1%Gtbd1=Zt|*wthwEnwH|c!3Y>+`4tu)&^w}-PFW!CX*}Xd_7w<gqqJHYLho_GoIX2^9gEEKMrS`E@ZT-xsB{E%(Wj"
    "At&dR-4V_Amed>rW;4Xq#96jfeN^D(<QKRdv6i`-^@wc2~Tiwa7>7j_oX~_*!kJS#S6$zTrhbK2=n_tnSy<@-"
    "?sfNT9wt`!g4}oi!C-"
    "v+V@ZzYAMGNB({6`E+@J$U*F$IrYp7C$=2;%6I;{<69s6&CS2ftFe04KC&;!FQ1!moCmrMt^Qdu@49v%cvGD$wKEI=00"
    "000q}6Es)ZgUgBllhNO`dC|Xo9h5=QnxPuKlg_o58_<x$SsC7ysD&-"
    "tSW70ldhnJMsXs<?_rY?57!K93EeK_$DjhyH>z%u^@YPMp}5Pt4S5`GghFbtXk}n7AD|ltw2jfwfMNSFabYj1zM`A#hA"
    "1(0Y7gAf&)plc(Y_$n1Elj0xeUj#YJgh0{*BK000000IV)o-"
    "DcMKaXG0(0)3Y^gW&t${^plc<pIjc@&H+TeJeO0000000D$$Z8XaY?`uPCWj(&RUdp>~qYWv6kdT2gX9-"
    "xve50JC>gFJX%HhlTp{R#&S0000004tP@CLkPL%S?~g<%IQLKKZ2^Q{@4w$?^bsUJ?KR0002i4>Jw@Q=e_To+=MeOO^*"
    "HvWEcx00013KTL7Ccenj%cd9(VRI)sP)T}czBZ5XR$=L}%m@pF_%q2Dc=rlhc1^@s6006)$38xL15%~O-"
    "+ippf2dMYHZlF{|$k};-*!logAgB(wi^2f_0001hji__Jzm(B$w0`RGck228jUfK9XMXl%sysj=Ssoy3-"
    ">%?#0qsEWyial=0RR910KioUM$@{!e?D^GHTC^ntG<6Q7S+}G2Y<bQg^qrD>wCR`X3)i>AHDE=sysk5Ssp-"
    "c$Ly!MAp7a@3CFpqm81v);U>(efS<Pl!3&^TOiBwA@QYTUrLJ0hdMU8AbquJ$4H9Uoz+%Y+=2YNS37F#|44hJd1v%n=R"
    "5F{Z1M?Cv6EA$3Sur*dJ@&#DZ^pG)4s>mCF<dzS0001NC|+c&9uEFpHH4L0-"
    "|e@+XukzA{T9gfTOg+v&<n;r?o34k;p1jVyZ6dH`%~os=91+BWS11|UEWzAz>)d@!Q<`v08<k1RKS-"
    "&O;;4C$vT2T@AqUKUd^;vJP`%}00000xUNZlAe=v7hRr`YS$Hc|9>BDV%L5eD`o`?!!xPf$r4KmHyxXoK5C(RP2LZ{=j"
    "7xtXUJBgcv;$#_!=ph9y<+DNBaSoI&P24kI<piQw*vS5`S<6ZTK?sSOMy=~?Q0!`>-"
    "c*ySjUJCY%2tTQ5|?V7X;q95(on?WP$*2)$;n?J*TG5c)kA^#C3O_{H=5J-#jmVxz~4JyX`CJ2WnUKvK4qET-"
    "$e>@Oifl!Mm+vKR0;U><?1r6Uvo#sOV%KIy`;o>qj4zM>5XNo!Pja2J|}n+ec^8{5~|tp=^M+D#zjGTmN&*XTG}k#M2*"
    "HeCNN_=E&7<X58)_w4!5<xuN@eQswW-Fn;JN^P$W7EA*=`?mv?%58(CA1LW1=orx?hy<RQ_V|00BTz+|@6pYaU000007"
    "#hQnJ(YCGQ%ASmoGK4cPIf*(*ZKhA^!dkRCcZ8l@W4cL`h3`8_e9Ku`|Z-"
    "gQ!O@0i?Ry5CUf_zD)5p7YAW!Y1R5&vL|8aL1s;@uuL65g2e!tQ8lXM^0001h^+yJ|c{MonM+U!uoRJ;7KvDIeN3b2U{"
    "yTce_3I(iuZQrYkVbULe7~MMt_q;0|HrN|%uiH;G2-YQ-+nMv9-xx!d;sPJFfRZD#=L+;PjB6yS=i)d8>V-"
    "gU|zsbzT21=U_TG$1+3M7*31jAF)x7s2CnJLR_A52j^4`O&iyY{9-"
    "x{m50JAH5V9}N%idnD{$Gg(f^K)200000000|Gm`(}v5t6=Ww0`RGcjxkw-"
    ">7z7Ue0~L=aC~%r^*A=lFbW{Z^(=G#&ljUz?16#i%F~hSETyCd46H_|0xNSRiGKyVnG5`bs>Se1e#o70000005FvF90n"
    "OSzrW+gBdPKLQ@!&5Ih6<4)H@FlUN_KWIr?8WuqlCh>gxvTJU}Hbb3h&d00000Fyyl8R>rz7pPfCIDi2UkHZNe6>I5#x"
    "sQy4)Il%4GRVA)YU^T8zU_Gu*U?Z+hU~~2A1nMU^A6NBnOeH!Ns1pbP007{6Ho!W8eaiqA`z_G7C||DM0&c$r`V|sfd7"
    "VHr)?GY(;cKb#0F7jMfFj2(000000PBbOYWv}D{CqZ59-x^l4=}L$08ZRl{^htpE$;Mx>H`1(00024R~_{M%$e-"
    "(&%Sm(RUTk2Ssp-"
    "6$H+vMmR>KHf@}K8BjfVR8>QfyegFUf000b)<*ThGy}sbJyxMBCK`@>_{)J!Pktz@1C(8pw=55F|PA|(vPTO??0RR910"
    "Kni_`H9vk0-"
    "yZQ)^}6o0Zco|UmV=C|K91zgLf6e7IJ+<FRsfV0niNY6zqI~G_(F4if(g@)Hv9ewH|c!3YN>`=?;6k{q)%_$1mP}>e;<"
    "JCl~KL@S=X|vxldT9yvC{F|<*cL+p~iCTB)1k?C?QyOBfG>w3VkhXDXse@rFny!vlEykA#wPu;Jo`wiV+^rNx6;tj1uK"
    "3aEdXIaJ9YCFw(+a=4q=*OpuikH>>x>~;Gbsq`TS7(3b;<mG<;%l~@KuZ4yIS(+`"
)
